"""What every comparison shares: environments, workers, races, rows."""
