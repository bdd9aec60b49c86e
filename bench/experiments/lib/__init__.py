"""What several experiments share; not an experiment itself."""
