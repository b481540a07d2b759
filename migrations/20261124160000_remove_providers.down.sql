DROP INDEX containers_provider;
DROP INDEX containers_image_ever;
DROP INDEX scans_provider;
DROP INDEX scans_image;

COMMENT ON COLUMN scans.provider_id IS NULL;
ALTER TABLE scans DROP CONSTRAINT scans_open_has_provider;
ALTER TABLE scans DROP CONSTRAINT scans_provider_id_fkey;
DELETE FROM scans WHERE provider_id IS NULL;
ALTER TABLE scans ALTER COLUMN provider_id SET NOT NULL;
ALTER TABLE scans ADD CONSTRAINT scans_provider_id_fkey FOREIGN KEY (provider_id) REFERENCES providers ON DELETE CASCADE;

ALTER TABLE providers DROP COLUMN removing_at;
