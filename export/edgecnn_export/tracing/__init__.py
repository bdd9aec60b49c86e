"""Whatever was loaded → one float NCHW graph."""
