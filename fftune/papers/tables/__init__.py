"""Numbers beside the published ones: measures, verdicts, claims, and tables of anybody's nets."""
