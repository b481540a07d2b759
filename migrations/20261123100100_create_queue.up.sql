CREATE TABLE servers (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    version TEXT NOT NULL,
    started_at TIMESTAMPTZ NOT NULL,
    seen_at TIMESTAMPTZ NOT NULL
);
COMMENT ON TABLE servers IS 'Tidewaiter servers on this database; seen_at is their heartbeat. Written by queue.';

CREATE TABLE server_roles (
    server_id BIGINT NOT NULL REFERENCES servers ON DELETE CASCADE,
    role TEXT NOT NULL
        CHECK (role IN ('user_interface', 'web_services', 'ems_inventory', 'smartstate', 'smartproxy')),
    enabled BOOLEAN NOT NULL,
    PRIMARY KEY (server_id, role)
);
COMMENT ON TABLE server_roles IS 'Which roles a server has; spelled as ManageIQ spells them. Written by queue.';

CREATE TABLE tasks (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    parent_id BIGINT REFERENCES tasks ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('image_scan', 'image_scan_bulk', 'provider_refresh')),
    name TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'waiting', 'active', 'finished')),
    status TEXT CHECK (status IN ('ok', 'warn', 'error', 'cancelled')),
    message TEXT NOT NULL,
    reason_code TEXT NOT NULL DEFAULT '',
    advice TEXT NOT NULL DEFAULT '',
    progress SMALLINT NOT NULL DEFAULT 0 CHECK (progress BETWEEN 0 AND 100),
    userid TEXT NOT NULL,
    server TEXT NOT NULL DEFAULT '',
    target_kind TEXT NOT NULL CHECK (target_kind IN ('container_image', 'provider', 'none')),
    target_id BIGINT,
    target_name TEXT NOT NULL,
    provider_id BIGINT,
    children_total INTEGER NOT NULL DEFAULT 0,
    children_finished INTEGER NOT NULL DEFAULT 0,
    children_failed INTEGER NOT NULL DEFAULT 0,
    children_warned INTEGER NOT NULL DEFAULT 0,
    children_cancelled INTEGER NOT NULL DEFAULT 0,
    cancel_requested_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL,
    started_at TIMESTAMPTZ,
    updated_at TIMESTAMPTZ NOT NULL,
    finished_at TIMESTAMPTZ,
    CHECK ((state = 'finished') = (status IS NOT NULL))
);
CREATE INDEX tasks_created ON tasks (created_at DESC, id DESC);
CREATE INDEX tasks_userid ON tasks (userid, created_at DESC, id DESC);
CREATE INDEX tasks_parent ON tasks (parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX tasks_open ON tasks (id) WHERE state <> 'finished';
COMMENT ON TABLE tasks IS 'What people asked for and can follow. Written by queue.';
COMMENT ON COLUMN tasks.parent_id IS 'the bulk task that this one is a part of';
COMMENT ON COLUMN tasks.children_finished IS 'of children_total; of these, the failed, warned and cancelled ones are counted too, so that a parent sums up without reading its children';
COMMENT ON COLUMN tasks.reason_code IS 'stable code of why it waits or how it failed; empty when neither';
COMMENT ON COLUMN tasks.advice IS 'what a person can do about reason_code';

CREATE TABLE task_events (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task_id BIGINT NOT NULL REFERENCES tasks ON DELETE CASCADE,
    at TIMESTAMPTZ NOT NULL,
    message TEXT NOT NULL
);
CREATE INDEX task_events_task ON task_events (task_id, id);
COMMENT ON TABLE task_events IS 'The timeline of a task. Written by queue.';

CREATE FUNCTION announce_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('tidewaiter_changed', TG_TABLE_NAME);
    RETURN NULL;
END $$;
COMMENT ON FUNCTION announce_change IS 'One notification per statement with the name of the table that changed; the live pages listen.';
CREATE TRIGGER tasks_changed AFTER INSERT OR UPDATE OR DELETE ON tasks
    FOR EACH STATEMENT EXECUTE FUNCTION announce_change();
CREATE TRIGGER server_roles_changed AFTER INSERT OR UPDATE OR DELETE ON server_roles
    FOR EACH STATEMENT EXECUTE FUNCTION announce_change();
