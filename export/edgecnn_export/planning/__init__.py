"""The user's settings, the file and the graph → the plan of a bundle."""
