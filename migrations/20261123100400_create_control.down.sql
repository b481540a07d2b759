DROP TABLE policy_events;
