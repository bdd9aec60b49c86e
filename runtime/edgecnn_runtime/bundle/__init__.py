"""The bundle on disk: its manifest, its files, its golden data."""
