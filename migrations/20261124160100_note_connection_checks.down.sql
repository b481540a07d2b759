COMMENT ON COLUMN providers.status_at IS NULL;
ALTER TABLE providers DROP COLUMN checked_at;
