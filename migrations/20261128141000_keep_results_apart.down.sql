DROP VIEW image_scans;
DROP VIEW image_inspections;
ALTER TABLE container_images DROP CONSTRAINT container_images_found, DROP COLUMN inspection_id;

-- One open scan and one inspection per digest. What was kept apart could not be told from the rest any more, so it goes.
-- Who asked for a scan that goes is told, as queue::task::finish_many does it.
WITH cancelled AS (
    UPDATE scans
    SET state = 'finished', outcome = 'cancelled', reason_code = 'cancelled', message = 'Cancelled', finished_at = NOW(), fence = fence + 1,
        token = NULL, lease_owner = NULL, lease_until = NULL, state_deadline_at = NULL
    WHERE state <> 'finished'
      AND NOT shares_results
    RETURNING task_id),
ended AS (
    UPDATE tasks
    SET state = 'finished', status = 'cancelled', message = 'Cancelled', reason_code = 'cancelled', advice = '', progress = 100,
        started_at = COALESCE(started_at, NOW()), finished_at = NOW(), updated_at = NOW()
    WHERE id IN (SELECT task_id FROM cancelled)
      AND state <> 'finished'
    RETURNING id, parent_id),
told AS (INSERT INTO task_events (task_id, at, message) SELECT id, NOW(), 'Cancelled' FROM ended)
UPDATE tasks
SET children_finished = children_finished + here.count, children_cancelled = children_cancelled + here.count, state = 'active',
    message = (children_finished + here.count) || ' of ' || children_total || ' finished', reason_code = '', advice = '',
    progress = LEAST(100, (children_finished + here.count) * 100 / GREATEST(children_total, 1)),
    started_at = COALESCE(started_at, NOW()), updated_at = NOW()
FROM (SELECT parent_id, COUNT(*)::INT AS count FROM ended GROUP BY parent_id) here
WHERE tasks.id = here.parent_id
  AND state <> 'finished';
WITH ended AS (
    UPDATE tasks
    SET state = 'finished', status = CASE WHEN children_failed > 0 THEN 'error' ELSE 'cancelled' END, progress = 100, finished_at = NOW(), updated_at = NOW(),
        message = children_total || ' finished: ' || CONCAT_WS(', ',
            NULLIF(children_total - children_failed - children_warned - children_cancelled, 0) || ' well', NULLIF(children_warned, 0) || ' with warnings',
            NULLIF(children_failed, 0) || ' failed', NULLIF(children_cancelled, 0) || ' cancelled')
    WHERE state <> 'finished'
      AND children_total > 0
      AND children_finished >= children_total
    RETURNING id, message)
INSERT INTO task_events (task_id, at, message) SELECT id, NOW(), message FROM ended;
DELETE FROM inspections n USING providers p WHERE p.id = n.provider_id AND NOT p.shares_results;
DELETE FROM inspections n USING inspections newer WHERE newer.digest = n.digest AND (newer.inspected_at, newer.id) > (n.inspected_at, n.id);
DROP INDEX scans_active_apart;
DROP INDEX scans_active;
ALTER TABLE scans DROP COLUMN shares_results;
CREATE UNIQUE INDEX scans_active ON scans (digest) WHERE state <> 'finished';
COMMENT ON TABLE scans IS 'SmartState analyses of image digests; at most one open per digest. Written by smartstate.';
ALTER TABLE providers DROP COLUMN shares_results;

DROP INDEX inspections_of_provider;
ALTER TABLE inspections DROP COLUMN id, DROP COLUMN provider_id, DROP COLUMN provider_name;
ALTER TABLE inspections ADD PRIMARY KEY (digest);
COMMENT ON TABLE inspections IS 'What the last successful scan found inside a digest. Written by smartstate.';
COMMENT ON TABLE container_images IS 'An image as one provider uses it: repository name and digest. What was found inside belongs to the digest: see inspections. Written by inventory.';
COMMENT ON COLUMN container_images.found_rank IS 'inspections.failed_rank of the digest, -1 without an inspection; kept by the triggers copy_findings_*, for lists. What is shown is read from inspections';
COMMENT ON COLUMN container_images.found_at IS 'inspections.inspected_at of the digest, the epoch without an inspection; kept as found_rank is';
COMMENT ON COLUMN container_images.found_os_id IS 'inspections.os_id of the digest; kept as found_rank is';
COMMENT ON COLUMN container_images.found_complete IS 'inspections.fully_checked of the digest; kept as found_rank is';

UPDATE container_images i
SET found_rank = COALESCE(n.failed_rank, -1), found_at = COALESCE(n.inspected_at, 'epoch'), found_os_id = n.os_id, found_complete = n.fully_checked
FROM container_images own
LEFT JOIN inspections n ON n.digest = own.digest
WHERE own.id = i.id;

CREATE FUNCTION copy_findings_of_inspection() RETURNS trigger LANGUAGE plpgsql AS $$
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

CREATE FUNCTION share_findings_lock() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(1414987781, 0);
    RETURN NULL;
END $$;
COMMENT ON FUNCTION share_findings_lock IS 'Waits for findings that are being saved; see copy_findings_of_inspection.';
CREATE TRIGGER share_findings_lock BEFORE INSERT ON container_images FOR EACH STATEMENT EXECUTE FUNCTION share_findings_lock();
