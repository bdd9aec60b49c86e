"""What this machine is, and where what it learned is stored."""
