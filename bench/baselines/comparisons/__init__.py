"""One module a peer: what both sides are given, and how their answers are compared."""
