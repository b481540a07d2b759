ALTER TABLE users ADD COLUMN must_change_password BOOLEAN NOT NULL DEFAULT FALSE;
COMMENT ON COLUMN users.must_change_password IS 'somebody else set the password: the next login leads to the page that changes it';

ALTER TABLE sessions
    ADD COLUMN id BIGINT GENERATED ALWAYS AS IDENTITY UNIQUE,
    ADD COLUMN address TEXT NOT NULL DEFAULT '',
    ADD COLUMN agent TEXT NOT NULL DEFAULT '';
COMMENT ON COLUMN sessions.id IS 'names a session on pages; of no use to log in';
COMMENT ON COLUMN sessions.address IS 'where the login came from';
COMMENT ON COLUMN sessions.agent IS 'User-Agent of the login, cut';

-- A row each, for statements that delete none must not wake every open page; those of one transaction are one notification.
CREATE TRIGGER sessions_ended AFTER DELETE ON sessions
    FOR EACH ROW EXECUTE FUNCTION announce_change();
COMMENT ON TRIGGER sessions_ended ON sessions IS 'open pages look whether their session is still there';
