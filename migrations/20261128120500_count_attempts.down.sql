DROP INDEX login_failures_failed, login_failures_device, login_failures_wide_address;
ALTER TABLE login_failures DROP COLUMN door, DROP COLUMN wide_address, DROP COLUMN device;
COMMENT ON TABLE login_failures IS 'Recent failed logins, for throttling; rows older than an hour are removed. Written by access.';
COMMENT ON COLUMN login_failures.address IS NULL;
COMMENT ON COLUMN login_failures.failed_at IS NULL;
