ALTER TABLE providers ADD COLUMN removing_at TIMESTAMPTZ;
COMMENT ON COLUMN providers.removing_at IS 'since when it is being removed: nothing new is started on it, and a job deletes it once its open scans have ended; NULL otherwise';

-- What was found belongs to the digest: a scan outlives its provider, but not while it is open, since its pod is there.
ALTER TABLE scans ALTER COLUMN provider_id DROP NOT NULL;
ALTER TABLE scans DROP CONSTRAINT scans_provider_id_fkey;
ALTER TABLE scans ADD CONSTRAINT scans_provider_id_fkey FOREIGN KEY (provider_id) REFERENCES providers ON DELETE SET NULL;
ALTER TABLE scans ADD CONSTRAINT scans_open_has_provider CHECK (provider_id IS NOT NULL OR state = 'finished');
COMMENT ON COLUMN scans.provider_id IS 'where its pod ran; NULL once that provider was removed';

-- Deleting a row looks for those that refer to it; partial indexes do not serve that.
CREATE INDEX scans_image ON scans (image_id);
CREATE INDEX scans_provider ON scans (provider_id);
CREATE INDEX containers_image_ever ON containers (image_id);
CREATE INDEX containers_provider ON containers (provider_id);
