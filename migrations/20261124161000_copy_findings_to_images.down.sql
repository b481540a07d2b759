DROP TRIGGER copy_findings_to_images ON container_images;
DROP FUNCTION copy_findings_to_images;
DROP TRIGGER copy_findings_of_inspection ON inspections;
DROP FUNCTION copy_findings_of_inspection;
ALTER TABLE container_images DROP COLUMN found_rank, DROP COLUMN found_at, DROP COLUMN found_os_id, DROP COLUMN found_complete;
ALTER TABLE inspections DROP COLUMN failed_rank;
