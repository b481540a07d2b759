ALTER TABLE scans ADD COLUMN tried_references TEXT[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN scans.tried_references IS 'by which names the image could not be pulled before the one in reference was tried';
COMMENT ON COLUMN scans.attempt IS 'which pod of this scan: one that got lost is replaced once, and each other name of the image that is tried has one';
