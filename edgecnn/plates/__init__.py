"""The pipeline ``plates``: its checkpoints, and what ``python -m edgecnn.plates`` makes of them."""
