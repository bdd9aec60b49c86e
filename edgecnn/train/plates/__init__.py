"""Rendered license plates of many countries, whose text is known."""
