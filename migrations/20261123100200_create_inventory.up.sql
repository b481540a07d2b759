CREATE TABLE providers (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('kubernetes', 'openshift')),
    endpoint TEXT NOT NULL,
    credentials BYTEA NOT NULL,
    api_version TEXT NOT NULL DEFAULT '',
    status TEXT NOT NULL DEFAULT 'unknown'
        CHECK (status IN ('unknown', 'ok', 'wrong_address', 'unreachable', 'tls', 'login', 'permissions', 'error')),
    status_message TEXT NOT NULL DEFAULT '',
    status_at TIMESTAMPTZ,
    refresh_started_at TIMESTAMPTZ,
    refreshed_at TIMESTAMPTZ,
    refresh_millis BIGINT,
    refresh_error TEXT NOT NULL DEFAULT '',
    seen_at TIMESTAMPTZ,
    positions JSONB NOT NULL DEFAULT '{}',
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL
);
CREATE UNIQUE INDEX providers_name ON providers (LOWER(name));
COMMENT ON TABLE providers IS 'Clusters that Tidewaiter manages. Written by inventory.';
COMMENT ON COLUMN providers.credentials IS 'inventory::provider::Connection as JSON, sealed by model::Sealer';
COMMENT ON COLUMN providers.positions IS 'per kind, the resource version up to which its objects are in the tables; where watching goes on';
COMMENT ON COLUMN providers.updated_at IS 'when a person last changed name, kind or connection; watchers compare it';
COMMENT ON COLUMN providers.seen_at IS 'when its watches last heard anything, a bookmark included';

CREATE TABLE projects (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    provider_id BIGINT NOT NULL REFERENCES providers ON DELETE CASCADE,
    uid TEXT NOT NULL,
    name TEXT NOT NULL,
    display_name TEXT NOT NULL DEFAULT '',
    phase TEXT NOT NULL DEFAULT '',
    labels JSONB NOT NULL DEFAULT '{}',
    resource_version BIGINT NOT NULL DEFAULT 0,
    created_at TIMESTAMPTZ NOT NULL,
    first_seen_at TIMESTAMPTZ NOT NULL,
    archived_at TIMESTAMPTZ,
    UNIQUE (provider_id, uid)
);
CREATE INDEX projects_name ON projects (name, id) WHERE archived_at IS NULL;
CREATE INDEX projects_provider ON projects (provider_id, name);
COMMENT ON COLUMN projects.resource_version IS 'metadata.resourceVersion; an older one never overwrites a newer one';
COMMENT ON TABLE projects IS 'Namespaces (Kubernetes) and projects (OpenShift). Written by inventory.';

CREATE TABLE nodes (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    provider_id BIGINT NOT NULL REFERENCES providers ON DELETE CASCADE,
    uid TEXT NOT NULL,
    name TEXT NOT NULL,
    ready BOOLEAN NOT NULL,
    schedulable BOOLEAN NOT NULL,
    architecture TEXT NOT NULL DEFAULT '',
    os_image TEXT NOT NULL DEFAULT '',
    kernel TEXT NOT NULL DEFAULT '',
    runtime TEXT NOT NULL DEFAULT '',
    kubelet TEXT NOT NULL DEFAULT '',
    address TEXT NOT NULL DEFAULT '',
    cpu_millis BIGINT NOT NULL DEFAULT 0,
    memory_bytes BIGINT NOT NULL DEFAULT 0,
    pods_max BIGINT NOT NULL DEFAULT 0,
    labels JSONB NOT NULL DEFAULT '{}',
    conditions JSONB NOT NULL DEFAULT '[]',
    resource_version BIGINT NOT NULL DEFAULT 0,
    created_at TIMESTAMPTZ NOT NULL,
    first_seen_at TIMESTAMPTZ NOT NULL,
    archived_at TIMESTAMPTZ,
    UNIQUE (provider_id, uid)
);
CREATE INDEX nodes_name ON nodes (name, id) WHERE archived_at IS NULL;
CREATE INDEX nodes_provider ON nodes (provider_id, name);
COMMENT ON TABLE nodes IS 'Nodes. cpu_millis, memory_bytes and pods_max are allocatable. Written by inventory.';

CREATE TABLE image_registries (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    provider_id BIGINT NOT NULL REFERENCES providers ON DELETE CASCADE,
    host TEXT NOT NULL,
    port INTEGER,
    name TEXT NOT NULL,
    first_seen_at TIMESTAMPTZ NOT NULL,
    UNIQUE (provider_id, name)
);
CREATE INDEX image_registries_name ON image_registries (name, id);
COMMENT ON TABLE image_registries IS 'Registries that images of a provider come from; name is host or host:port. Written by inventory.';

CREATE TABLE container_images (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    provider_id BIGINT NOT NULL REFERENCES providers ON DELETE CASCADE,
    registry_id BIGINT NOT NULL REFERENCES image_registries ON DELETE CASCADE,
    name TEXT NOT NULL,
    tag TEXT NOT NULL DEFAULT '',
    digest TEXT NOT NULL CHECK (digest ~ '^sha256:[0-9a-f]{64}$'),
    first_seen_at TIMESTAMPTZ NOT NULL,
    last_seen_at TIMESTAMPTZ NOT NULL,
    archived_at TIMESTAMPTZ,
    UNIQUE (registry_id, name, digest)
);
CREATE INDEX container_images_name ON container_images (name, id) WHERE archived_at IS NULL;
CREATE INDEX container_images_seen ON container_images (first_seen_at DESC, id DESC) WHERE archived_at IS NULL;
CREATE INDEX container_images_provider ON container_images (provider_id, name, id);
CREATE INDEX container_images_digest ON container_images (digest);
COMMENT ON TABLE container_images IS 'An image as one provider uses it: repository name and digest. What was found inside belongs to the digest: see inspections. Written by inventory.';
COMMENT ON COLUMN container_images.name IS 'repository without the registry, e.g. library/nginx';
COMMENT ON COLUMN container_images.tag IS 'the tag last seen with this digest; empty when only the digest is used';

CREATE TABLE pods (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    provider_id BIGINT NOT NULL REFERENCES providers ON DELETE CASCADE,
    project_id BIGINT NOT NULL REFERENCES projects ON DELETE CASCADE,
    node_id BIGINT REFERENCES nodes ON DELETE SET NULL,
    uid TEXT NOT NULL,
    name TEXT NOT NULL,
    phase TEXT NOT NULL DEFAULT '',
    ready BOOLEAN NOT NULL DEFAULT FALSE,
    reason TEXT NOT NULL DEFAULT '',
    message TEXT NOT NULL DEFAULT '',
    restart_policy TEXT NOT NULL DEFAULT '',
    dns_policy TEXT NOT NULL DEFAULT '',
    service_account TEXT NOT NULL DEFAULT '',
    address TEXT NOT NULL DEFAULT '',
    owner_kind TEXT NOT NULL DEFAULT '',
    owner_name TEXT NOT NULL DEFAULT '',
    pull_secrets TEXT[] NOT NULL DEFAULT '{}',
    labels JSONB NOT NULL DEFAULT '{}',
    annotations JSONB NOT NULL DEFAULT '{}',
    conditions JSONB NOT NULL DEFAULT '[]',
    resource_version BIGINT NOT NULL DEFAULT 0,
    created_at TIMESTAMPTZ NOT NULL,
    first_seen_at TIMESTAMPTZ NOT NULL,
    archived_at TIMESTAMPTZ,
    UNIQUE (provider_id, uid)
);
CREATE INDEX pods_name ON pods (name, id) WHERE archived_at IS NULL;
CREATE INDEX pods_project ON pods (project_id, name);
CREATE INDEX pods_node ON pods (node_id);
COMMENT ON TABLE pods IS 'Pods. Written by inventory.';
COMMENT ON COLUMN pods.pull_secrets IS 'names of spec.imagePullSecrets, and of the service account''s';

CREATE TABLE containers (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    provider_id BIGINT NOT NULL REFERENCES providers ON DELETE CASCADE,
    pod_id BIGINT NOT NULL REFERENCES pods ON DELETE CASCADE,
    image_id BIGINT REFERENCES container_images ON DELETE SET NULL,
    kind TEXT NOT NULL CHECK (kind IN ('container', 'init', 'ephemeral')),
    name TEXT NOT NULL,
    image_reference TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'running', 'terminated')),
    reason TEXT NOT NULL DEFAULT '',
    message TEXT NOT NULL DEFAULT '',
    exit_code INTEGER,
    restart_count INTEGER NOT NULL DEFAULT 0,
    ready BOOLEAN NOT NULL DEFAULT FALSE,
    command TEXT[] NOT NULL DEFAULT '{}',
    resources JSONB NOT NULL DEFAULT '{}',
    security JSONB NOT NULL DEFAULT '{}',
    started_at TIMESTAMPTZ,
    finished_at TIMESTAMPTZ,
    archived_at TIMESTAMPTZ,
    UNIQUE (pod_id, kind, name)
);
CREATE INDEX containers_name ON containers (name, id) WHERE archived_at IS NULL;
CREATE INDEX containers_image ON containers (image_id) WHERE archived_at IS NULL;
COMMENT ON TABLE containers IS 'Containers of pods, init and ephemeral ones too. Written by inventory.';
COMMENT ON COLUMN containers.image_id IS 'NULL until the node reports which digest it runs';

CREATE TRIGGER providers_changed AFTER INSERT OR UPDATE OR DELETE ON providers
    FOR EACH STATEMENT EXECUTE FUNCTION announce_change();
CREATE TRIGGER pods_changed AFTER INSERT OR UPDATE OR DELETE ON pods
    FOR EACH STATEMENT EXECUTE FUNCTION announce_change();
CREATE TRIGGER container_images_changed AFTER INSERT OR UPDATE OR DELETE ON container_images
    FOR EACH STATEMENT EXECUTE FUNCTION announce_change();
