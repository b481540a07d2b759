DROP TABLE installation, packages, rule_results, rules, scan_artifacts, scan_layers, inspections, scans;
