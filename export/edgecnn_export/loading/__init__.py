"""A model file → a model in memory, without running what came with the file."""
