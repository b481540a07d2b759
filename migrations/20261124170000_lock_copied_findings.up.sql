-- An image that is added while the findings of its digest are saved must get them all the same: those who add images share a lock, who saves findings has
-- it alone. Adding takes it before any row, so that the two cannot wait for each other.
CREATE FUNCTION share_findings_lock() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(1414987781, 0);
    RETURN NULL;
END $$;
COMMENT ON FUNCTION share_findings_lock IS 'Waits for findings that are being saved; see copy_findings_of_inspection.';
CREATE TRIGGER share_findings_lock BEFORE INSERT ON container_images FOR EACH STATEMENT EXECUTE FUNCTION share_findings_lock();

CREATE OR REPLACE FUNCTION copy_findings_of_inspection() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(1414987781, 0);
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
