"""Which artifact a model runs on: the candidates, and what was measured here."""
