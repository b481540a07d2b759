ALTER TABLE scans ADD COLUMN reads_begun SMALLINT NOT NULL DEFAULT 0;
COMMENT ON COLUMN scans.reads_begun IS 'how many servers began to read what the pod sent in the present state and did not come to the end of it: one whose servers all stop is what stops them';
