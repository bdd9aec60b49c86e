"""What the user, the file and the graph say → one plan of the bundle."""
