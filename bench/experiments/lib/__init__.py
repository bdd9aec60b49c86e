"""What several figures share; not a figure itself."""
