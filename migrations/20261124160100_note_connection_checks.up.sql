ALTER TABLE providers ADD COLUMN checked_at TIMESTAMPTZ;
COMMENT ON COLUMN providers.checked_at IS 'when the connection was last tried, with success or without; moves at most every five seconds';
COMMENT ON COLUMN providers.status_at IS 'since when it has this status';
