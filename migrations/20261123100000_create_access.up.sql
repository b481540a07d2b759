CREATE TABLE users (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    userid TEXT NOT NULL,
    name TEXT NOT NULL,
    role TEXT NOT NULL DEFAULT 'super_administrator'
        CHECK (role IN ('super_administrator', 'operator', 'auditor')),
    password_hash TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    password_changed_at TIMESTAMPTZ NOT NULL,
    last_login_at TIMESTAMPTZ
);
CREATE UNIQUE INDEX users_userid ON users (LOWER(userid));
COMMENT ON TABLE users IS 'People who may log in. Written by access.';
COMMENT ON COLUMN users.password_hash IS 'argon2id in PHC form';

CREATE TABLE sessions (
    token_sha256 BYTEA PRIMARY KEY,
    user_id BIGINT NOT NULL REFERENCES users ON DELETE CASCADE,
    csrf_token TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    last_used_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX sessions_user ON sessions (user_id);
COMMENT ON TABLE sessions IS 'Browser sessions; the cookie holds the token, this table its SHA-256. Written by access.';

CREATE TABLE login_failures (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    userid TEXT NOT NULL,
    address TEXT NOT NULL,
    failed_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX login_failures_userid ON login_failures (LOWER(userid), failed_at);
CREATE INDEX login_failures_address ON login_failures (address, failed_at);
COMMENT ON TABLE login_failures IS 'Recent failed logins, for throttling; rows older than an hour are removed. Written by access.';
