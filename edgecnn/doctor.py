"""What this machine offers to a model, and what is missing, with the line that brings it."""

import importlib.util
import os
import re
from importlib import metadata
from pathlib import Path

import msgspec

from edgecnn_bench.host import Host, fingerprint, read_text_or_empty
from edgecnn_runtime.backends import BACKENDS, backend_module, why_absent

JETSON = {
    "onnxruntime-cuda": "install onnxruntime-gpu from NVIDIA's index for this JetPack, and: "
    "pip install 'cuda-bindings<13'",
    "tensorrt": "sudo apt install python3-libnvinfer && pip install 'cuda-bindings<13', "
    "in an environment made with --system-site-packages",
}
"""Where a Jetson gets what the package index does not have for it."""


class EngineStatus(msgspec.Struct, frozen=True, kw_only=True):
    """An inference engine: its version here, or "" and why not."""

    name: str
    version: str = ""
    precisions: tuple[str, ...] = ()
    problem: str = ""
    install: str = ""


class CameraDevice(msgspec.Struct, frozen=True, kw_only=True):
    """A video device of the kernel; ``usable`` is whether this user may open it."""

    device: str
    name: str
    usable: bool


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """Something missing: what it would give, and what to type."""

    what: str
    why: str
    fix: str


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of it; ``video`` names what OpenCV here can read from."""

    host: Host
    engines: tuple[EngineStatus, ...]
    video: dict[str, bool]
    cameras: tuple[CameraDevice, ...]
    advice: tuple[Advice, ...]


def diagnose() -> Diagnosis:
    """Look at this machine. Opens no camera and runs no model."""
    host = fingerprint()
    engines = tuple(_engine(name) for name in BACKENDS if name != "fake")
    video = _video()
    cameras = _cameras()
    advice = (*engine_advice(host, engines), *video_advice(host, video, cameras))
    return Diagnosis(host=host, engines=engines, video=video, cameras=cameras, advice=advice)


def _engine(name: str) -> EngineStatus:
    module = backend_module(name)
    if problem := why_absent(name):
        return EngineStatus(name=name, problem=problem, install=module.INSTALL)
    return EngineStatus(name=name, version=module.version(), precisions=tuple(module.precisions()))


def _video() -> dict[str, bool]:
    import cv2

    info = cv2.getBuildInformation()
    offers = {
        name: bool(re.search(rf"{pattern}:\s+YES", info, re.IGNORECASE))
        for name, pattern in (
            ("ffmpeg", "FFMPEG"),
            ("gstreamer", "GStreamer"),
            ("v4l2", "v4l/v4l2"),
        )
    }
    return offers | {"pyav": importlib.util.find_spec("av") is not None}


def _cameras() -> tuple[CameraDevice, ...]:
    nodes = sorted(
        Path("/sys/class/video4linux").glob("video*"), key=lambda node: int(node.name[5:])
    )
    return tuple(
        CameraDevice(
            device=f"/dev/{node.name}",
            name=read_text_or_empty(node / "name"),
            usable=os.access(f"/dev/{node.name}", os.R_OK | os.W_OK),
        )
        for node in nodes
    )


def engine_advice(host: Host, engines: tuple[EngineStatus, ...]) -> list[Advice]:
    """What to install, by the engines found; those for a GPU only where there is an NVIDIA one."""
    board = JETSON if any(gpu.name == "Tegra" for gpu in host.gpus) else {}
    advice = [
        Advice(
            what=engine.name,
            why=f"{engine.problem}: one engine fewer",
            fix=board.get(engine.name, engine.install),
        )
        for engine in engines
        if not engine.version and (backend_module(engine.name).DEVICE == "cpu" or _has_nvidia(host))
    ]
    both = {"onnxruntime", "onnxruntime-gpu"}
    if both <= _installed(both):
        advice.append(
            Advice(
                what="two ONNX Runtime wheels",
                why="onnxruntime and onnxruntime-gpu overwrite each other's files",
                fix="pip uninstall -y onnxruntime onnxruntime-gpu, then install the one you need",
            )
        )
    if importlib.util.find_spec("torch") is None:
        advice.append(
            Advice(
                what="torch",
                why="`edgecnn export` and `train` need it; a device does not",
                fix="pip install 'edgecnn[export]'",
            )
        )
    return advice


def video_advice(
    host: Host, video: dict[str, bool], cameras: tuple[CameraDevice, ...]
) -> list[Advice]:
    """What keeps a camera from being read, by what OpenCV offers and what the kernel shows."""
    advice = [
        Advice(
            what=camera.device,
            why=f"{camera.name}: this user may not open it",
            fix="sudo usermod -aG video $USER, then log in again",
        )
        for camera in cameras
        if not camera.usable
    ]
    if not video["gstreamer"] and host.board:
        advice.append(
            Advice(
                what="GStreamer in OpenCV",
                why="csi:// cameras and hardware decoding need it; the wheels have none",
                fix="use the board's own cv2: pip uninstall opencv-python-headless, "
                "and make the environment with --system-site-packages",
            )
        )
    return advice


def _has_nvidia(host: Host) -> bool:
    return any(
        re.search("nvidia|tegra|geforce|tesla", gpu.name, re.IGNORECASE) for gpu in host.gpus
    )


def _installed(packages: set[str]) -> set[str]:
    names = {str(found.metadata["Name"]).lower() for found in metadata.distributions()}
    return packages & names
