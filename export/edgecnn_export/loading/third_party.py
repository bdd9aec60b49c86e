"""Pickled models of other frameworks, recognized by the classes they name.

Only the framework's own code can load such a file. Most of these frameworks write ONNX, which
edgecnn reads.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple


class Framework(NamedTuple):
    """A framework, and the commands that turn its pickle into a file edgecnn reads.

    Attributes:
        name: Of a model of it, with its article.
        lines: The commands; ``{path}`` in them is the file.
    """

    name: str
    lines: tuple[str, ...]


FRAMEWORKS: dict[str, Framework] = {
    "ultralytics.": Framework(
        "an Ultralytics model",
        ("pip install ultralytics", "yolo export model={path} format=onnx opset=18"),
    ),
    "models.yolo.": Framework(
        "a YOLOv5 or YOLOv7 model",
        ("cd the-repository-it-was-trained-with",
         "python export.py --weights {path} --include onnx"),
    ),
    "super_gradients.": Framework(
        "a super-gradients model",
        ("pip install super-gradients", "python -c \"import torch; "
         "torch.load('{path}', weights_only=False).export('model.onnx')\""),
    ),
    "detectron2.": Framework(
        "a detectron2 model",
        ("cd detectron2", "python tools/deploy/export_model.py --format onnx "
         "--export-method tracing --config-file CONFIG.yaml MODEL.WEIGHTS {path}"),
    ),
    "mmengine.": Framework(
        "an OpenMMLab model",
        ("pip install mmdeploy", "python tools/deploy.py DEPLOY.py MODEL.py {path} PICTURE.jpg"),
    ),
    "facenet_pytorch.": Framework(
        "a facenet-pytorch model",
        ("python -c \"import torch; m = torch.load('{path}', weights_only=False); "
         "torch.save(m.state_dict(), 'weights.pt')\"",
         "edgecnn export weights.pt --arch facenet_pytorch:InceptionResnetV1"),
    ),
    "fastai.": Framework(
        "a fastai learner",
        ("python -c \"from fastai.learner import load_learner; import torch; "
         "torch.save(load_learner('{path}').model.state_dict(), 'weights.pt')\"",
         "edgecnn export weights.pt --arch package.module:factory"),
    ),
}  # fmt: skip
"""By the module of its classes; that of YOLOv5 and v7 is ``models.yolo``."""


def framework_of(imports: Iterable[str], path: Path) -> str:
    """The message for a file with these imports; empty where they name no known framework."""
    for name in imports:
        for prefix, framework in FRAMEWORKS.items():
            if name.startswith(prefix):
                lines = "".join(f"\n  {line}" for line in framework.lines)
                return (
                    f"{path} is {framework.name} (it holds a {name}), a pickle that only that "
                    "framework's own code can load. Type this, and give what it writes:"
                    + lines.replace("{path}", str(path))
                )
    return ""
