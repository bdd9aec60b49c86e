"""What the comparisons share: environments, workers, races, rows."""
