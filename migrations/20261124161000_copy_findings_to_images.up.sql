-- One number that sorts digests by their failed rules: a critical one outranks any number of high ones, and so on.
ALTER TABLE inspections ADD COLUMN failed_rank BIGINT NOT NULL GENERATED ALWAYS AS (
    (LEAST(failed_critical, 8191)::BIGINT << 50) + (LEAST(failed_high, 16383)::BIGINT << 36) + (LEAST(failed_medium, 16383)::BIGINT << 22)
    + (LEAST(failed_low, 16383)::BIGINT << 8) + LEAST(failed_unknown, 255)) STORED;
COMMENT ON COLUMN inspections.failed_rank IS 'failed rules as one number, worst highest: 13 bits critical, 14 high, 14 medium, 14 low, 8 unknown';

-- Lists of images sort and filter by what was found. An index reaches over one table only, so images carry a copy.
ALTER TABLE container_images
    ADD COLUMN found_rank BIGINT NOT NULL DEFAULT -1,
    ADD COLUMN found_at TIMESTAMPTZ NOT NULL DEFAULT 'epoch',
    ADD COLUMN found_os_id TEXT,
    ADD COLUMN found_complete BOOLEAN;
COMMENT ON COLUMN container_images.found_rank IS 'inspections.failed_rank of the digest, -1 without an inspection; kept by the triggers copy_findings_*, for lists. What is shown is read from inspections';
COMMENT ON COLUMN container_images.found_at IS 'inspections.inspected_at of the digest, the epoch without an inspection; kept as found_rank is';
COMMENT ON COLUMN container_images.found_os_id IS 'inspections.os_id of the digest; kept as found_rank is';
COMMENT ON COLUMN container_images.found_complete IS 'inspections.fully_checked of the digest; kept as found_rank is';

CREATE FUNCTION copy_findings_of_inspection() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        UPDATE container_images
        SET found_rank = -1, found_at = 'epoch', found_os_id = NULL, found_complete = NULL
        WHERE digest = OLD.digest;
    ELSE
        UPDATE container_images
        SET found_rank = NEW.failed_rank, found_at = NEW.inspected_at, found_os_id = NEW.os_id, found_complete = NEW.fully_checked
        WHERE digest = NEW.digest;
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION copy_findings_of_inspection IS 'Copies what was found in a digest to the images with it.';
CREATE TRIGGER copy_findings_of_inspection AFTER INSERT OR UPDATE OR DELETE ON inspections
    FOR EACH ROW EXECUTE FUNCTION copy_findings_of_inspection();

CREATE FUNCTION copy_findings_to_images() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE container_images i
    SET found_rank = n.failed_rank, found_at = n.inspected_at, found_os_id = n.os_id, found_complete = n.fully_checked
    FROM fresh JOIN inspections n USING (digest)
    WHERE i.id = fresh.id;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION copy_findings_to_images IS 'Copies to new images what was found in their digests before.';
CREATE TRIGGER copy_findings_to_images AFTER INSERT ON container_images
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION copy_findings_to_images();

UPDATE container_images i
SET found_rank = n.failed_rank, found_at = n.inspected_at, found_os_id = n.os_id, found_complete = n.fully_checked
FROM inspections n
WHERE n.digest = i.digest;
