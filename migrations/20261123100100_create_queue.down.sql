DROP TABLE task_events, tasks, server_roles, servers;
DROP FUNCTION announce_change;
