ALTER TABLE container_images ADD COLUMN pulled_from TEXT NOT NULL DEFAULT '';
COMMENT ON COLUMN container_images.pulled_from IS 'registry/name that the node has this digest from, when that is not the one in the pod: a mirror, a short name, or another repository of the same content. Empty otherwise';
