"""Pages and API of the daemon."""
