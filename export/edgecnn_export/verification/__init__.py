"""Every artifact, on every engine installed here, compared with the model as its author ran it."""
