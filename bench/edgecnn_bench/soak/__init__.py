"""The daemon under faults: clips as RTSP cameras, what goes wrong, and what is measured."""
