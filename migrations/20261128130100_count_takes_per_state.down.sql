ALTER TABLE scans DROP COLUMN reads_begun;
