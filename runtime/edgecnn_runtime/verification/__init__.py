"""Whether a backend reproduces what the bundle promises."""
