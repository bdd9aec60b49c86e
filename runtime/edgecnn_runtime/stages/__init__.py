"""Second stages: what looks closer at the tracks of a frame."""
