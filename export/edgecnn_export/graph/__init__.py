"""A float graph → the graph that ships: pixels in, the same results in fewer steps."""
