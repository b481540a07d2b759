ALTER TABLE providers DROP CONSTRAINT providers_status_check;
ALTER TABLE providers ADD CONSTRAINT providers_status_check
    CHECK (status IN ('unknown', 'ok', 'wrong_address', 'unreachable', 'tls', 'login', 'permissions', 'too_large', 'error'));
ALTER TABLE providers ADD COLUMN paused_at TIMESTAMPTZ;
COMMENT ON COLUMN providers.paused_at IS 'since when a person has it paused: nothing is asked of it; NULL otherwise';
ALTER TABLE providers ADD COLUMN openshift_version TEXT NOT NULL DEFAULT '';
COMMENT ON COLUMN providers.openshift_version IS 'e.g. 4.22.0; empty where it is none or the login may not read it';
