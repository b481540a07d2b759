ALTER TABLE scan_layers
    DROP COLUMN definitions,
    DROP COLUMN definitions_evaluated,
    DROP COLUMN definitions_passed,
    DROP COLUMN definitions_not_applicable,
    DROP COLUMN definitions_undecided;
COMMENT ON COLUMN scan_layers.rules IS NULL;
