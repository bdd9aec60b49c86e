"""Half precision: the float graph in sixteen bits, and what has to stay in thirty-two."""
