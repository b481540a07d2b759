-- What a scan found belongs to the digest and to the provider that looked. It counts for the same digest at other providers only among those whose
-- results are shared; a provider whose results are not is analysed for itself alone.
ALTER TABLE providers ADD COLUMN shares_results BOOLEAN NOT NULL DEFAULT TRUE;
COMMENT ON COLUMN providers.shares_results IS 'its results count for the same digest at the other providers of which this is true, and theirs count here; false: it is analysed for itself alone. Changed by smartstate::share_results alone, since what counts for images changes with it';

ALTER TABLE scans ADD COLUMN shares_results BOOLEAN NOT NULL DEFAULT TRUE;
COMMENT ON COLUMN scans.shares_results IS 'providers.shares_results while the scan is open: which images it is the scan of';
COMMENT ON TABLE scans IS 'SmartState analyses of image digests; at most one open per digest among the providers that share results, and one per digest and provider elsewhere. Written by smartstate.';
DROP INDEX scans_active;
CREATE UNIQUE INDEX scans_active ON scans (digest) WHERE state <> 'finished' AND shares_results;
CREATE UNIQUE INDEX scans_active_apart ON scans (digest, provider_id) WHERE state <> 'finished' AND NOT shares_results;

-- Which inspection counts is written by those who add images, save findings or change a provider: inventory::findings.
DROP TRIGGER copy_findings_of_inspection ON inspections;
DROP TRIGGER copy_findings_to_images ON container_images;
DROP TRIGGER share_findings_lock ON container_images;
DROP FUNCTION copy_findings_of_inspection;
DROP FUNCTION copy_findings_to_images;
DROP FUNCTION share_findings_lock;

ALTER TABLE inspections DROP CONSTRAINT inspections_pkey;
ALTER TABLE inspections
    ADD COLUMN id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ADD COLUMN provider_id BIGINT REFERENCES providers ON DELETE SET NULL,
    ADD COLUMN provider_name TEXT NOT NULL DEFAULT '';
UPDATE inspections
SET provider_id = scans.provider_id, provider_name = CASE WHEN scans.provider_id IS NULL THEN 'a removed provider' ELSE '' END
FROM scans
WHERE scans.id = scan_id;
ALTER TABLE inspections ADD CONSTRAINT inspections_name_provider CHECK (provider_id IS NOT NULL OR provider_name <> '');
CREATE UNIQUE INDEX inspections_of_provider ON inspections (digest, provider_id);
CREATE INDEX inspections_provider ON inspections (provider_id);
COMMENT ON TABLE inspections IS 'What the last successful scan at a provider found inside a digest. Written by smartstate.';
COMMENT ON COLUMN inspections.provider_id IS 'the provider that looked; NULL once it was removed. What one that does not share results found goes with it';
COMMENT ON COLUMN inspections.provider_name IS 'its name, noted when it was removed; empty before';

ALTER TABLE container_images ADD COLUMN inspection_id BIGINT REFERENCES inspections;
COMMENT ON COLUMN container_images.inspection_id IS 'the inspection that counts for this image: image_inspections says which, inventory::findings keeps it. NULL: none does';
COMMENT ON COLUMN container_images.found_rank IS 'inspections.failed_rank of the inspection that counts, -1 without one; kept by inventory::findings, for lists. What is shown is read from inspections';
COMMENT ON COLUMN container_images.found_at IS 'inspections.inspected_at of the inspection that counts, the epoch without one; kept as found_rank is';
COMMENT ON COLUMN container_images.found_os_id IS 'inspections.os_id of the inspection that counts; kept as found_rank is';
COMMENT ON COLUMN container_images.found_complete IS 'inspections.fully_checked of the inspection that counts; kept as found_rank is';
COMMENT ON TABLE container_images IS 'An image as one provider uses it: repository name and digest. What was found inside belongs to the digest and the provider that looked: see inspections. Written by inventory.';

CREATE VIEW image_inspections AS
    SELECT i.id AS image_id, newest.id AS inspection_id
    FROM container_images i
    JOIN providers p ON p.id = i.provider_id
    LEFT JOIN LATERAL (
        SELECT n.id
        FROM inspections n
        LEFT JOIN providers o ON o.id = n.provider_id
        WHERE n.digest = i.digest
          AND (n.provider_id = i.provider_id OR p.shares_results AND COALESCE(o.shares_results, TRUE))
        ORDER BY n.inspected_at DESC, n.id DESC
        LIMIT 1) newest ON TRUE;
COMMENT ON VIEW image_inspections IS 'The inspection that counts for an image: the newest of its digest by its own provider or, if that shares results, by any that does. One that was removed did.';

CREATE VIEW image_scans AS
    SELECT i.id AS image_id, s.id AS scan_id
    FROM container_images i
    JOIN providers p ON p.id = i.provider_id
    JOIN scans s ON s.digest = i.digest
    LEFT JOIN providers o ON o.id = s.provider_id
    WHERE s.provider_id = i.provider_id OR p.shares_results AND COALESCE(o.shares_results, TRUE);
COMMENT ON VIEW image_scans IS 'The scans of an image: of its digest, by its own provider or, if that shares results, by any that does';

UPDATE container_images i
SET inspection_id = n.id
FROM inspections n
WHERE n.digest = i.digest;
ALTER TABLE container_images ADD CONSTRAINT container_images_found CHECK ((inspection_id IS NULL) = (found_rank = -1));
CREATE INDEX container_images_inspection ON container_images (inspection_id);
