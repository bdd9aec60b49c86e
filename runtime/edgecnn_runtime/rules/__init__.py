"""Rules: where, when and about whom an event is one."""
