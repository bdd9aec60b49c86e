"""A classifier's checkpoint → that of an embedder."""

from pathlib import Path

import torch

from edgecnn_export.checkpoint import save_checkpoint


def write_features(digits: Path, path: Path) -> None:
    """The checkpoint of the digits without its last layer: an embedder."""
    content = torch.load(digits, weights_only=True)
    state, spec = content["state_dict"], content["spec"]
    save_checkpoint(
        path,
        {name: value for name, value in state.items() if not name.startswith("fc2.")},
        arch="edgecnn.models.digit_features:DigitFeatures",
        spec={"task": "embed"}
        | {key: spec[key] for key in ("input", "color", "mean", "std", "resize", "interpolation")},
        samples=content["samples"].numpy(),
    )
