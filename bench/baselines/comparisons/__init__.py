"""One module per baseline: what both sides get, and how their answers are compared."""
