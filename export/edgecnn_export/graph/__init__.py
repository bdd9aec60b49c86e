"""A float graph → the graph that ships: pixels in, the same numbers in fewer steps."""
