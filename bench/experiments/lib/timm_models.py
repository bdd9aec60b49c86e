"""timm architectures with random weights, and photographs to give them statistics."""

import functools
import importlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgecnn_export.config import ExportConfig
from edgecnn_runtime.types import Floats, Pixels
from lib.material import ASSETS, write_pictures

MAIN = (
    "resnet18", "mobilenetv2_100", "mobilenetv3_large_100", "efficientnet_lite0", "repvgg_a0",
    "ghostnet_100", "regnety_002", "convnext_atto", "shufflenet", "vit_tiny_patch16_224",
)  # fmt: skip
MORE = (
    "resnet50", "densenet121", "mobilenetv4_conv_small", "efficientnetv2_rw_t", "hardcorenas_a",
    "fbnetc_100", "mnasnet_100", "semnasnet_100", "dla34", "res2net50_26w_4s", "xception41",
    "tinynet_a", "lcnet_050", "levit_128s", "mobilevit_xxs", "efficientformer_l1",
    "swin_tiny_patch4_window7_224", "inception_v3", "edgenext_xx_small", "fastvit_t8",
    "hrnet_w18_small", "rexnet_100", "selecsls42", "vgg11", "darknet53", "cspresnet50",
    "coat_tiny", "pvt_v2_b0", "poolformer_s12", "mixer_s16_224", "resmlp_12_224", "mobileone_s0",
    "repghostnet_050", "tf_efficientnet_b0",
)  # fmt: skip
PHOTOGRAPHS = 16
STATISTICS = 64
"""About how many photographs set the statistics of a network that is quantized."""
CLOSED = 1e-3
"""Weights that are all smaller than this let nothing through."""
SHUFFLENET = "lib.shufflenet:shufflenet"
UNDESCRIBED = {"input": "224x224", "task": "classify", "preset": "imagenet", "color": "rgb"}
"""Export settings of ShuffleNet: what timm's configuration tells of its own models."""


def arch_of(name: str) -> str:
    """The argument of ``--arch``; ShuffleNet is not in timm."""
    return SHUFFLENET if name == "shufflenet" else f"timm.models:{name}"


def random_model(name: str) -> nn.Module:
    """The architecture with random weights, the same ones every time."""
    timm, _ = import_timm()
    torch.manual_seed(0)
    if name == "shufflenet":
        from lib.shufflenet import shufflenet

        return shufflenet().eval()
    model: nn.Module = timm.create_model(name, pretrained=False).eval()
    _open_branches(model)
    return model


def _open_branches(module: nn.Module) -> None:
    """Let everything in an untrained network count. In place.

    Many scale each residual branch by 0, or by 1e-6, and leave it to training to open them; some
    heads are all 0. As they are, half of a ResNet would be compared with itself times 0.
    """
    for name, parameter in module.named_parameters():
        if name.endswith("bias") or parameter.abs().max() >= CLOSED:
            continue
        with torch.no_grad():
            if parameter.dim() == 1:
                parameter.fill_(1.0)
            else:
                parameter.normal_(std=0.02)


@functools.cache
def import_timm() -> tuple[Any, torch.library.Library]:
    """timm, also where torchvision's own operators do not fit the torch that is installed.

    It imports torchvision, which asks for two operators at import; with the CPU build of torch
    they are absent, and declaring them is enough. They stay declared as long as the library lives.
    """
    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in (
        "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
        "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    ):
        if not hasattr(torch.ops.torchvision, schema.partition("(")[0]):
            library.define(schema)
    return importlib.import_module("timm"), library


def int8_network(
    name: str, folder: Path, calibration: Sequence[Pixels]
) -> tuple[nn.Module, ExportConfig]:
    """The module with statistics of ``calibration``, and what exports it with ``--int8``.

    Many photographs and not the sixteen: where a random network has seen too few, others make it
    give numbers a hundred times as large, which no eight bits hold beside the usual ones.
    folder: for weights, pictures, the bundle and the working files.
    """
    module = random_model(name)
    config: Any = module.pretrained_cfg
    _, height, width = config["input_size"]
    sample = calibration[:: max(1, len(calibration) // STATISTICS)]
    planes = reference_preprocess(_small(sample, width, height), **normalization(module))
    set_statistics(module, planes)
    save_weights(module, folder / "weights.pt")
    write_pictures(folder / "pictures", photographs(width, height))
    write_pictures(folder / "calibration", calibration)
    return module, ExportConfig(
        model=str(folder / "weights.pt"), arch=arch_of(name), name=name,
        images=str(folder / "pictures"), int8=True, calib=str(folder / "calibration"),
        targets=("cpu", "openvino"), out=str(folder / f"{name}.edge"),
        work_dir=str(folder / "work"),
    )  # fmt: skip


def photographs(width: int, height: int) -> Pixels:
    """uint8[16,height,width,3] BGR: cars, plates and faces."""
    scenes = sorted((ASSETS / "plates" / "scenes").glob("*/*.jpg"))[::12][:9]
    plates = sorted((ASSETS / "plates" / "crops").glob("*.jpg"))[::60][:3]
    faces = sorted((ASSETS / "faces" / "people").glob("*/1.jpg"))[:3]
    files = [*scenes, *plates, *faces, ASSETS / "faces" / "multiface.jpg"][:PHOTOGRAPHS]
    pictures = [np.asarray(cv2.imread(str(file)), np.uint8) for file in files]
    return _small(pictures, width, height)


def _small(pictures: Iterable[Pixels], width: int, height: int) -> Pixels:
    size = (width, height)
    small = [cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for picture in pictures]
    return np.asarray(np.stack(small), np.uint8)


def reference_preprocess(
    pixels: Pixels, mean: Sequence[float], std: Sequence[float]
) -> torch.Tensor:
    """float32[N,3,H,W], RGB; mean and std are fractions of 1, as training code has them."""
    rgb = np.ascontiguousarray(pixels[..., ::-1]).astype(np.float32) / 255
    normal = (rgb - np.array(mean, np.float32)) / np.array(std, np.float32)
    return torch.from_numpy(normal.transpose(0, 3, 1, 2).copy())


def normalization(module: nn.Module) -> dict[str, Sequence[float]]:
    """timm's own mean and std, as ``reference_preprocess`` takes them."""
    config: Any = module.pretrained_cfg
    return {"mean": config["mean"], "std": config["std"]}


def set_statistics(module: nn.Module, planes: torch.Tensor) -> None:
    """Batch normalization as after training on these pictures; dropout stays off."""
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.reset_running_stats()
            part.momentum = None
            part.train()
    with torch.no_grad():
        module(planes)
    module.eval()


def save_weights(module: nn.Module, path: Path) -> None:
    """A plain state dict."""
    torch.save(module.state_dict(), path)


def centered_cosine(outputs: NDArray[Any], reference: Floats) -> float:
    """The smallest cosine over the pictures, after subtracting the reference's mean output."""
    mean = reference.mean(0, dtype=np.float64)
    a, b = ((x - mean).reshape(len(x), -1) for x in (outputs, reference))
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(((a * b).sum(1) / norms).min())
