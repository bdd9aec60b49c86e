"""What this machine offers to a model, and what is missing, with the command that installs it."""

import importlib.util
import os
import re
from pathlib import Path

import msgspec

from edgecnn_bench.host import Host, fingerprint, read_text_or_empty
from edgecnn_runtime.backends import Engine, get_engine, real_engines


class EngineStatus(msgspec.Struct, frozen=True, kw_only=True):
    """An inference engine on this machine.

    Attributes:
        name: as in ``--backend``.
        version: "" where it cannot be used.
        precisions: what it computes in here, the most exact first.
        problem: why it cannot be used; "" where it can.
        install: the command that installs it, where it cannot be used.
    """

    name: str
    version: str = ""
    precisions: tuple[str, ...] = ()
    problem: str = ""
    install: str = ""


class CameraDevice(msgspec.Struct, frozen=True, kw_only=True):
    """A video device of the kernel.

    Attributes:
        device: its file.
        name: what the driver calls it.
        usable: whether this user may open it.
    """

    device: str
    name: str
    usable: bool


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is missing or wrong.

    Attributes:
        what: its name.
        why: what it is needed for, or what is wrong.
        fix: what to type.
    """

    what: str
    why: str
    fix: str


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """All that ``edgecnn doctor`` prints.

    Attributes:
        host: the machine.
        engines: every inference engine, usable here or not.
        video: by name, whether video can be read through it.
        cameras: the kernel's video devices.
        advice: what to install or change.
    """

    host: Host
    engines: tuple[EngineStatus, ...]
    video: dict[str, bool]
    cameras: tuple[CameraDevice, ...]
    advice: tuple[Advice, ...]


def diagnose() -> Diagnosis:
    """Examine this machine. Opens no camera and runs no model."""
    host = fingerprint()
    engines = tuple(_status(engine) for engine in real_engines())
    video = _video()
    cameras = _cameras()
    advice = (*engine_advice(host, engines), *video_advice(host, video, cameras))
    return Diagnosis(host=host, engines=engines, video=video, cameras=cameras, advice=advice)


def _status(engine: Engine) -> EngineStatus:
    if problem := engine.problem():
        return EngineStatus(name=engine.name, problem=problem, install=engine.install)
    return EngineStatus(name=engine.name, version=engine.version(), precisions=engine.precisions())


def _video() -> dict[str, bool]:
    import cv2

    info = cv2.getBuildInformation()
    headings = {"ffmpeg": "FFMPEG", "gstreamer": "GStreamer", "v4l2": "v4l/v4l2"}
    offers = {
        name: bool(re.search(rf"{heading}:\s+YES", info, re.IGNORECASE))
        for name, heading in headings.items()
    }
    return offers | {"pyav": importlib.util.find_spec("av") is not None}


def _cameras() -> tuple[CameraDevice, ...]:
    nodes = Path("/sys/class/video4linux").glob("video*")
    return tuple(
        CameraDevice(
            device=f"/dev/{node.name}",
            name=read_text_or_empty(node / "name"),
            usable=os.access(f"/dev/{node.name}", os.R_OK | os.W_OK),
        )
        for node in sorted(nodes, key=lambda node: int(node.name.removeprefix("video")))
    )


def engine_advice(host: Host, engines: tuple[EngineStatus, ...]) -> list[Advice]:
    """What to install; engines for a GPU only where there is an NVIDIA one."""
    jetson = any(gpu.name == "Tegra" for gpu in host.gpus)
    advice = []
    for status in engines:
        engine = get_engine(status.name)
        if not status.version and (engine.device == "cpu" or _has_nvidia(host)):
            fix = (jetson and engine.install_jetson) or status.install
            why = f"{status.problem}; models may run faster on it than on the others"
            advice.append(Advice(what=status.name, why=why, fix=fix))
        elif status.version and (clash := engine.clash()):
            advice.append(Advice(what=status.name, why=clash[0], fix=clash[1]))
    if importlib.util.find_spec("torch") is None:
        why = "`edgecnn export` and `train` need it; a device does not"
        advice.append(Advice(what="torch", why=why, fix="pip install 'edgecnn[export]'"))
    return advice


def video_advice(
    host: Host, video: dict[str, bool], cameras: tuple[CameraDevice, ...]
) -> list[Advice]:
    """What keeps a camera from being read, by what OpenCV offers and what the kernel shows."""
    fix = "sudo usermod -aG video $USER, then log in again"
    advice = [
        Advice(what=camera.device, why=f"{camera.name}: this user may not open it", fix=fix)
        for camera in cameras
        if not camera.usable
    ]
    if not video["gstreamer"] and host.board:
        why = "csi:// cameras and hardware decoding need it; the wheels have none"
        fix = (
            "use the board's own cv2: pip uninstall opencv-python-headless, "
            "and make the environment with --system-site-packages"
        )
        advice.append(Advice(what="GStreamer in OpenCV", why=why, fix=fix))
    return advice


def _has_nvidia(host: Host) -> bool:
    pattern = re.compile("nvidia|tegra|geforce|tesla", re.IGNORECASE)
    return any(pattern.search(gpu.name) for gpu in host.gpus)
