ALTER TABLE container_images DROP COLUMN pulled_from;
