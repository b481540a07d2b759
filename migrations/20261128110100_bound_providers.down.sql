ALTER TABLE providers DROP COLUMN openshift_version;
ALTER TABLE providers DROP COLUMN paused_at;
UPDATE providers SET status = 'error' WHERE status = 'too_large';
ALTER TABLE providers DROP CONSTRAINT providers_status_check;
ALTER TABLE providers ADD CONSTRAINT providers_status_check
    CHECK (status IN ('unknown', 'ok', 'wrong_address', 'unreachable', 'tls', 'login', 'permissions', 'error'));
