"""A loaded model → one float NCHW graph."""
