-- A feed has tens of thousands of definitions: those that failed or are unknown have rows in rule_results, the others are counted.
ALTER TABLE scan_layers
    ADD COLUMN definitions INTEGER,
    ADD COLUMN definitions_evaluated INTEGER,
    ADD COLUMN definitions_passed INTEGER,
    ADD COLUMN definitions_not_applicable INTEGER,
    ADD COLUMN definitions_undecided INTEGER,
    ADD CHECK (num_nulls(definitions, definitions_evaluated, definitions_passed, definitions_not_applicable, definitions_undecided) IN (0, 5));
COMMENT ON COLUMN scan_layers.rules IS 'rules that were evaluated; those of a feed that passed or do not apply have no rows in rule_results';
COMMENT ON COLUMN scan_layers.definitions IS 'all definitions of the feed; NULL where the content is no feed';
COMMENT ON COLUMN scan_layers.definitions_evaluated IS 'those that OpenSCAP evaluated in the pod, since they can concern what is installed';
COMMENT ON COLUMN scan_layers.definitions_passed IS 'evaluated, and the image is not vulnerable; without rows';
COMMENT ON COLUMN scan_layers.definitions_not_applicable IS 'about packages that are not installed, or made for another system; without rows';
COMMENT ON COLUMN scan_layers.definitions_undecided IS 'nobody can say whether they hold: left out for that reason (scan_layers.reason says which), or unknown after the evaluation';
