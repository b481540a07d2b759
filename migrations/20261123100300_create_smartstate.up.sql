CREATE TABLE scans (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest TEXT NOT NULL,
    image_id BIGINT REFERENCES container_images ON DELETE SET NULL,
    provider_id BIGINT NOT NULL REFERENCES providers ON DELETE CASCADE,
    task_id BIGINT REFERENCES tasks ON DELETE SET NULL,
    userid TEXT NOT NULL,
    reference TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN
        ('waiting', 'creating_pod', 'starting_pod', 'pulling', 'evaluating', 'fetching', 'cleaning', 'finished')),
    outcome TEXT CHECK (outcome IN ('ok', 'warn', 'error', 'cancelled')),
    reason_code TEXT NOT NULL DEFAULT '',
    message TEXT NOT NULL DEFAULT '',
    advice TEXT NOT NULL DEFAULT '',
    namespace TEXT NOT NULL DEFAULT '',
    pod_name TEXT NOT NULL DEFAULT '',
    pod_uid TEXT NOT NULL DEFAULT '',
    node_name TEXT NOT NULL DEFAULT '',
    pod_log TEXT NOT NULL DEFAULT '',
    pod_events JSONB NOT NULL DEFAULT '[]',
    token BYTEA,
    lease_owner TEXT,
    lease_until TIMESTAMPTZ,
    fence BIGINT NOT NULL DEFAULT 0,
    state_deadline_at TIMESTAMPTZ,
    requested_at TIMESTAMPTZ NOT NULL,
    started_at TIMESTAMPTZ,
    finished_at TIMESTAMPTZ,
    timings JSONB NOT NULL DEFAULT '{}',
    os_name TEXT NOT NULL DEFAULT '',
    warnings TEXT[] NOT NULL DEFAULT '{}',
    attempt SMALLINT NOT NULL DEFAULT 1,
    bulk BOOLEAN NOT NULL DEFAULT FALSE,
    CHECK (state <> 'finished' OR outcome IS NOT NULL),
    CHECK (outcome IS NULL OR state IN ('cleaning', 'finished'))
);
CREATE UNIQUE INDEX scans_active ON scans (digest) WHERE state <> 'finished';
CREATE INDEX scans_open ON scans (provider_id, id) WHERE state <> 'finished';
CREATE INDEX scans_waiting ON scans (provider_id, bulk, id) WHERE state = 'waiting';
CREATE INDEX scans_digest ON scans (digest, id DESC);
CREATE INDEX scans_task ON scans (task_id);
COMMENT ON TABLE scans IS 'SmartState analyses of image digests; at most one open per digest. Written by smartstate.';
COMMENT ON COLUMN scans.token IS 'the token of the pod''s requests, sealed; NULL once finished';
COMMENT ON COLUMN scans.fence IS 'raised with every new lease: a server that lost its lease cannot write any more';
COMMENT ON COLUMN scans.outcome IS 'how it ended; known from cleaning on';
COMMENT ON COLUMN scans.attempt IS 'which pod of this scan: one that got lost is replaced once';
COMMENT ON COLUMN scans.bulk IS 'asked for together with others: starts after those that were asked for alone';
COMMENT ON COLUMN scans.timings IS 'milliseconds by step: waiting, pod_start, pull, unpack, packages, benchmark, guide, vulnerabilities, fetch, save';

CREATE TABLE inspections (
    digest TEXT PRIMARY KEY,
    scan_id BIGINT NOT NULL REFERENCES scans ON DELETE CASCADE,
    inspected_at TIMESTAMPTZ NOT NULL,
    os_id TEXT NOT NULL DEFAULT '',
    os_version TEXT NOT NULL DEFAULT '',
    os_name TEXT NOT NULL DEFAULT '',
    architecture TEXT NOT NULL DEFAULT '',
    media_type TEXT NOT NULL DEFAULT '',
    compressed_size_bytes BIGINT NOT NULL,
    unpacked_size_bytes BIGINT NOT NULL,
    config JSONB NOT NULL,
    package_database JSONB NOT NULL,
    package_count INTEGER NOT NULL,
    failed_critical INTEGER NOT NULL DEFAULT 0,
    failed_high INTEGER NOT NULL DEFAULT 0,
    failed_medium INTEGER NOT NULL DEFAULT 0,
    failed_low INTEGER NOT NULL DEFAULT 0,
    failed_unknown INTEGER NOT NULL DEFAULT 0,
    fully_checked BOOLEAN NOT NULL
);
CREATE INDEX inspections_scan ON inspections (scan_id);
COMMENT ON TABLE inspections IS 'What the last successful scan found inside a digest. Written by smartstate.';
COMMENT ON COLUMN inspections.fully_checked IS 'every layer of content was evaluated; otherwise zero failures does not mean good';
COMMENT ON COLUMN inspections.config IS 'scap::report::ImageConfig';

CREATE TABLE scan_layers (
    scan_id BIGINT NOT NULL REFERENCES scans ON DELETE CASCADE,
    layer TEXT NOT NULL CHECK (layer IN ('benchmark', 'guide', 'vulnerabilities')),
    state TEXT NOT NULL CHECK (state IN ('evaluated', 'not_covered', 'not_possible', 'failed')),
    reason TEXT NOT NULL DEFAULT '',
    profile TEXT NOT NULL DEFAULT '',
    content TEXT NOT NULL DEFAULT '',
    html_reason TEXT NOT NULL DEFAULT '',
    rules INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    duration_millis BIGINT NOT NULL,
    PRIMARY KEY (scan_id, layer)
);
COMMENT ON TABLE scan_layers IS 'How each layer of content ended in a scan. Written by smartstate.';

CREATE TABLE scan_artifacts (
    scan_id BIGINT NOT NULL REFERENCES scans ON DELETE CASCADE,
    layer TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('arf', 'html')),
    body BYTEA NOT NULL,
    size_bytes BIGINT NOT NULL,
    PRIMARY KEY (scan_id, layer, kind)
);
ALTER TABLE scan_artifacts ALTER COLUMN body SET STORAGE EXTERNAL;
COMMENT ON TABLE scan_artifacts IS 'oscap''s own results and HTML reports, as zstd. Written by smartstate.';
COMMENT ON COLUMN scan_artifacts.size_bytes IS 'of the uncompressed document';

CREATE TABLE rules (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    fingerprint BYTEA NOT NULL UNIQUE,
    rule_id TEXT NOT NULL,
    title TEXT NOT NULL,
    description TEXT NOT NULL,
    rationale TEXT NOT NULL,
    fix TEXT NOT NULL,
    identifiers JSONB NOT NULL
);
COMMENT ON TABLE rules IS 'Texts of rules, once for all scans. Written by smartstate.';
COMMENT ON COLUMN rules.fingerprint IS 'SHA-256 of all other columns';
COMMENT ON COLUMN rules.identifiers IS 'array of scap::report::Identifier';

CREATE TABLE rule_results (
    scan_id BIGINT NOT NULL REFERENCES scans ON DELETE CASCADE,
    ordinal INTEGER NOT NULL,
    rule_key BIGINT NOT NULL REFERENCES rules,
    layer TEXT NOT NULL,
    outcome TEXT NOT NULL,
    severity TEXT NOT NULL,
    message TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (scan_id, ordinal)
);
COMMENT ON TABLE rule_results IS 'One row per rule evaluated in a scan, worst first. Written by smartstate.';

CREATE TABLE packages (
    scan_id BIGINT NOT NULL REFERENCES scans ON DELETE CASCADE,
    ordinal INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('deb', 'rpm', 'apk')),
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    architecture TEXT NOT NULL,
    source TEXT NOT NULL,
    vendor TEXT NOT NULL,
    summary TEXT NOT NULL,
    PRIMARY KEY (scan_id, ordinal)
);
CREATE INDEX packages_name ON packages (name);
COMMENT ON TABLE packages IS 'Packages found by a scan, by name. Written by smartstate.';

CREATE TABLE installation (
    only_row BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (only_row),
    instance TEXT NOT NULL
);
INSERT INTO installation (instance) VALUES (SUBSTR(REPLACE(gen_random_uuid()::TEXT, '-', ''), 1, 8));
COMMENT ON TABLE installation IS 'What tells this Tidewaiter''s pods from those of another one on the same cluster. Written by its migration.';

CREATE TRIGGER scans_changed AFTER INSERT OR DELETE OR UPDATE OF state, outcome, message ON scans
    FOR EACH STATEMENT EXECUTE FUNCTION announce_change();
CREATE TRIGGER inspections_changed AFTER INSERT OR UPDATE OR DELETE ON inspections
    FOR EACH STATEMENT EXECUTE FUNCTION announce_change();
