"""The camera daemon: what `edgecnn serve` runs."""
