"""Votes: many observations of a track, one decision."""
