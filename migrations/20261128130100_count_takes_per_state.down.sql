ALTER TABLE scans DROP COLUMN taken_in_state;
