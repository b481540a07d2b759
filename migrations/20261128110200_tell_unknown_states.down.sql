UPDATE nodes SET ready = FALSE WHERE ready IS NULL;
ALTER TABLE nodes ALTER COLUMN ready SET NOT NULL;
ALTER TABLE containers DROP COLUMN sidecar;
UPDATE containers SET state = 'waiting' WHERE state = 'unknown';
ALTER TABLE containers DROP CONSTRAINT containers_state_check;
ALTER TABLE containers ALTER COLUMN state SET DEFAULT 'waiting';
ALTER TABLE containers ADD CONSTRAINT containers_state_check CHECK (state IN ('waiting', 'running', 'terminated'));
COMMENT ON COLUMN containers.state IS NULL;
COMMENT ON COLUMN nodes.ready IS NULL;
