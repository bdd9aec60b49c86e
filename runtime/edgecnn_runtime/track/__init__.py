"""Tracking: detections that get an identity."""
