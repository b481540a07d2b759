ALTER TABLE scans ADD COLUMN taken_in_state SMALLINT NOT NULL DEFAULT 0;
COMMENT ON COLUMN scans.taken_in_state IS 'how many drivers the scan has had in its present state, without those that gave it back: one whose servers all stop in one state is what stops them';
