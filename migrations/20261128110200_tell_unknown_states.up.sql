ALTER TABLE containers DROP CONSTRAINT containers_state_check;
ALTER TABLE containers ALTER COLUMN state SET DEFAULT 'unknown';
ALTER TABLE containers ADD CONSTRAINT containers_state_check CHECK (state IN ('waiting', 'running', 'terminated', 'unknown'));
COMMENT ON COLUMN containers.state IS 'as the cluster tells it; unknown when it tells none, or the pod has ended without this container''s end being told';
ALTER TABLE containers ADD COLUMN sidecar BOOLEAN NOT NULL DEFAULT FALSE;
COMMENT ON COLUMN containers.sidecar IS 'an init container with restartPolicy Always, which keeps running beside the others';
ALTER TABLE nodes ALTER COLUMN ready DROP NOT NULL;
COMMENT ON COLUMN nodes.ready IS 'NULL when no condition says so';
