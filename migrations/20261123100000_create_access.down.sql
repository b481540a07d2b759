DROP TABLE login_failures, sessions, users;
