"""Rendered pictures whose truth is known, a picture per seed."""
