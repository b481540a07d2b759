DROP INDEX tasks_search, tasks_top, tasks_top_of_user, tasks_top_by_update, tasks_top_by_name, tasks_by_update, tasks_by_name, tasks_by_state, tasks_by_status,
    tasks_by_kind, tasks_of_parent, tasks_of_parent_by_state, tasks_of_provider;
CREATE INDEX tasks_parent ON tasks (parent_id) WHERE parent_id IS NOT NULL;
DROP INDEX projects_by_creation, nodes_by_os, nodes_by_memory;
DROP INDEX containers_search, containers_by_restarts, containers_by_state, containers_of_provider;
DROP INDEX pods_search, pods_by_creation, pods_by_phase, pods_of_provider;
DROP INDEX container_images_search, container_images_by_rank, container_images_by_finding, container_images_by_os, container_images_of_provider,
    container_images_of_registry;
-- pg_trgm stays: others may use it.
