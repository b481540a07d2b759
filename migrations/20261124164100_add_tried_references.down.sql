COMMENT ON COLUMN scans.attempt IS 'which pod of this scan: one that got lost is replaced once';
ALTER TABLE scans DROP COLUMN tried_references;
