-- A row is an attempt that was begun and has not turned out right; servers of the version before go on writing failures into the old columns.
ALTER TABLE login_failures
    ADD COLUMN door TEXT NOT NULL DEFAULT 'pages' CHECK (door IN ('pages', 'api')),
    ADD COLUMN wide_address TEXT NOT NULL DEFAULT '',
    ADD COLUMN device TEXT;
CREATE INDEX login_failures_wide_address ON login_failures (wide_address, failed_at) WHERE wide_address <> '';
CREATE INDEX login_failures_device ON login_failures (device, failed_at) WHERE device IS NOT NULL;
CREATE INDEX login_failures_failed ON login_failures (failed_at);
COMMENT ON TABLE login_failures IS 'Recent attempts to log in that were begun and did not turn out right, for throttling; rows older than an hour are removed by later attempts. Written by access.';
COMMENT ON COLUMN login_failures.address IS 'what counts as one address: of IPv6 the first 64 bits';
COMMENT ON COLUMN login_failures.wide_address IS 'of IPv6 the first 48 bits; empty for others';
COMMENT ON COLUMN login_failures.door IS 'pages: the login page; api: basic authentication';
COMMENT ON COLUMN login_failures.device IS 'the browser that logged in as this user before; its attempts count for itself alone';
COMMENT ON COLUMN login_failures.failed_at IS 'when the attempt was begun';
