DROP TRIGGER sessions_ended ON sessions;
ALTER TABLE sessions DROP COLUMN id, DROP COLUMN address, DROP COLUMN agent;
ALTER TABLE users DROP COLUMN must_change_password;
