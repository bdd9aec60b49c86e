"""Every artifact, on every engine here, against the model as its author ran it."""
