"""Labeled images and the metrics they are judged by."""
