"""What each backend costs on this very device, measured so that a person can trust it."""
