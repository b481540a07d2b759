-- Trigrams find a text anywhere in a name (ILIKE '%text%'). The extension is trusted: the owner of the database may create it.
CREATE EXTENSION IF NOT EXISTS pg_trgm;

CREATE INDEX container_images_search ON container_images USING gin (name gin_trgm_ops, tag gin_trgm_ops, digest gin_trgm_ops);
CREATE INDEX container_images_by_rank ON container_images (found_rank, id) WHERE archived_at IS NULL;
CREATE INDEX container_images_by_finding ON container_images (found_at, id) WHERE archived_at IS NULL;
CREATE INDEX container_images_by_os ON container_images (found_os_id, name, id) WHERE archived_at IS NULL;
CREATE INDEX container_images_of_provider ON container_images (provider_id, found_rank, id) WHERE archived_at IS NULL;
CREATE INDEX container_images_of_registry ON container_images (registry_id, found_rank, id) WHERE archived_at IS NULL;

CREATE INDEX pods_search ON pods USING gin (name gin_trgm_ops);
CREATE INDEX pods_by_creation ON pods (created_at, id) WHERE archived_at IS NULL;
CREATE INDEX pods_by_phase ON pods (phase, id) WHERE archived_at IS NULL;
CREATE INDEX pods_of_provider ON pods (provider_id, name, id) WHERE archived_at IS NULL;

CREATE INDEX containers_search ON containers USING gin (name gin_trgm_ops, image_reference gin_trgm_ops);
CREATE INDEX containers_by_restarts ON containers (restart_count, id) WHERE archived_at IS NULL;
CREATE INDEX containers_by_state ON containers (state, id) WHERE archived_at IS NULL;
CREATE INDEX containers_of_provider ON containers (provider_id, name, id) WHERE archived_at IS NULL;

CREATE INDEX projects_by_creation ON projects (created_at, id) WHERE archived_at IS NULL;
CREATE INDEX nodes_by_os ON nodes (os_image, id) WHERE archived_at IS NULL;
CREATE INDEX nodes_by_memory ON nodes (memory_bytes, id) WHERE archived_at IS NULL;

-- The parts of a bulk task are as many as it has images: what lists show first are tasks that are no part of another one.
CREATE INDEX tasks_search ON tasks USING gin (name gin_trgm_ops, message gin_trgm_ops);
CREATE INDEX tasks_top ON tasks (created_at, id) WHERE parent_id IS NULL;
CREATE INDEX tasks_top_of_user ON tasks (userid, created_at, id) WHERE parent_id IS NULL;
CREATE INDEX tasks_top_by_update ON tasks (updated_at, id) WHERE parent_id IS NULL;
CREATE INDEX tasks_top_by_name ON tasks (name, id) WHERE parent_id IS NULL;
CREATE INDEX tasks_by_update ON tasks (updated_at, id);
CREATE INDEX tasks_by_name ON tasks (name, id);
CREATE INDEX tasks_by_state ON tasks (state, created_at, id);
CREATE INDEX tasks_by_status ON tasks (status, created_at, id);
CREATE INDEX tasks_by_kind ON tasks (kind, created_at, id);
CREATE INDEX tasks_of_parent ON tasks (parent_id, created_at, id) WHERE parent_id IS NOT NULL;
CREATE INDEX tasks_of_parent_by_state ON tasks (parent_id, state, COALESCE(status, ''), id) WHERE parent_id IS NOT NULL;
DROP INDEX tasks_parent;
CREATE INDEX tasks_of_provider ON tasks (provider_id, created_at) WHERE kind = 'provider_refresh';
