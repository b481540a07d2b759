CREATE TABLE policy_events (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event TEXT NOT NULL,
    target_kind TEXT NOT NULL,
    target_id BIGINT NOT NULL,
    provider_id BIGINT,
    details JSONB NOT NULL DEFAULT '{}',
    raised_at TIMESTAMPTZ NOT NULL,
    handled_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX policy_events_target ON policy_events (target_kind, target_id, id DESC);
COMMENT ON TABLE policy_events IS 'Events that Control has seen, with ManageIQ''s names. Written by control.';
