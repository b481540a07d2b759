CREATE OR REPLACE FUNCTION copy_findings_of_inspection() RETURNS trigger LANGUAGE plpgsql AS $$
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
DROP TRIGGER share_findings_lock ON container_images;
DROP FUNCTION share_findings_lock;
