"""What this machine offers to a model, and what is missing, with the command that installs it."""

import importlib.util
import json
import platform
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import msgspec

from edgecnn.board import Board, find_board
from edgecnn.cameras import CameraDevice, attached_cameras
from edgecnn_bench.host import Host, fingerprint
from edgecnn_runtime.backends import Engine, get_engine, real_engines
from edgecnn_runtime.device.cpu import saturates
from edgecnn_runtime.requirements import install_command

T = TypeVar("T")
UNKNOWN = Host(
    arch="", board="", cpu="unknown", features=(), cores=1, affinity=1, cpu_quota=None,
    memory_mib=0, memory_limit_mib=None, governor="", power_mode="", gpus=(), container="",
    virtual="", system="unknown", kernel="unknown", python=platform.python_version(), versions={},
)  # fmt: skip
"""A machine that could not be examined."""
MIN_OPENCV = (4, 6)
OPENCV_PROBE = """
import json, cv2
print(json.dumps([cv2.__version__, cv2.getBuildInformation()]))
"""
OPENCV_SECONDS = 60
OWN_OPENCV = (
    "python3 -m venv --system-site-packages .venv\n"
    "install edgecnn there without its extra opencv, as docs/install.md says"
)
"""How an environment gets the system's OpenCV."""
PI_CAMERA = (
    "sudo apt install python3-venv python3-opencv gstreamer1.0-libcamera gstreamer1.0-plugins-good"
)


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


class OpenCv(msgspec.Struct, frozen=True, kw_only=True):
    """The OpenCV that this Python imports.

    Attributes:
        version: "" where it cannot be imported.
        problem: why it cannot be imported; "" where it can.
        readers: by name, whether it was built to read video that way.
    """

    version: str = ""
    problem: str = ""
    readers: dict[str, bool] = {}


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is missing or wrong.

    Attributes:
        what: its name.
        why: what it is needed for, or what is wrong.
        fix: what to type; several lines where it takes several commands, "" where nothing helps.
        severe: whether no model can run before it is mended.
    """

    what: str
    why: str
    fix: str = ""
    severe: bool = False


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """All that ``edgecnn doctor`` prints.

    Attributes:
        host: the machine.
        board: the same, as its makers call it.
        engines: every inference engine, usable here or not.
        opencv: the OpenCV found here.
        video: by name, whether video can be read through it.
        cameras: the kernel's video devices.
        advice: what to install or change, the severest first.
    """

    host: Host
    board: Board
    engines: tuple[EngineStatus, ...]
    opencv: OpenCv
    video: dict[str, bool]
    cameras: tuple[CameraDevice, ...]
    advice: tuple[Advice, ...]


def diagnose() -> Diagnosis:
    """Examine this machine. Opens no camera, runs no model, and never raises.

    What cannot be examined is left empty, and the advice says why.
    """
    failures: list[Advice] = []
    no_advice: list[Advice] = []
    no_cameras: tuple[CameraDevice, ...] = ()

    def attempt(what: str, probe: Callable[[], T], default: T) -> T:
        try:
            return probe()
        except Exception as error:  # drivers and damaged packages raise anything
            why = f"it could not be examined ({type(error).__name__}: {error})"
            failures.append(Advice(what=what, why=why))
            return default

    host = attempt("machine", fingerprint, UNKNOWN)
    board = attempt("board", find_board, Board(kind="other", name=""))
    engines = tuple(
        attempt(
            engine.name,
            partial(_status, engine),
            EngineStatus(name=engine.name, problem="could not be examined"),
        )
        for engine in real_engines()
    )
    opencv = attempt("OpenCV", find_opencv, OpenCv(problem="could not be examined"))
    pyav = attempt("PyAV", lambda: importlib.util.find_spec("av") is not None, default=False)
    video = opencv.readers | {"pyav": pyav}
    cameras = attempt("cameras", attached_cameras, no_cameras)
    advice = [
        *attempt("engines", partial(engine_advice, host, board, engines), no_advice),
        *attempt("video", partial(video_advice, board, opencv, cameras), no_advice),
        *attempt("board", partial(board_advice, host, board), no_advice),
    ]
    return Diagnosis(
        host=host,
        board=board,
        engines=engines,
        opencv=opencv,
        video=video,
        cameras=cameras,
        advice=tuple(sorted(advice + failures, key=lambda each: not each.severe)),
    )


def _status(engine: Engine) -> EngineStatus:
    if problem := engine.problem():
        return EngineStatus(name=engine.name, problem=problem, install=engine.install)
    return EngineStatus(name=engine.name, version=engine.version(), precisions=engine.precisions())


def find_opencv() -> OpenCv:
    """Import OpenCV in another process: one that does not fit the processor ends the process."""
    done = subprocess.run(
        [sys.executable, "-c", OPENCV_PROBE],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=OPENCV_SECONDS,
        check=False,
    )
    if done.returncode < 0:
        return OpenCv(problem=f"its import ends with {signal.Signals(-done.returncode).name}")
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return OpenCv(problem=lines[-1] if lines else "its import fails")
    version, info = json.loads(done.stdout.splitlines()[-1])
    headings = {"ffmpeg": "FFMPEG", "gstreamer": "GStreamer", "v4l2": "v4l/v4l2"}
    readers = {
        name: bool(re.search(rf"{heading}:\s+YES", info, re.IGNORECASE))
        for name, heading in headings.items()
    }
    return OpenCv(version=version, readers=readers)


def engine_advice(host: Host, board: Board, engines: tuple[EngineStatus, ...]) -> list[Advice]:
    """What to install; engines for a GPU only where there is an NVIDIA one."""
    advice = []
    usable = any(status.version for status in engines)
    if not usable:
        why = "no inference engine can be used here, so that no model can be run, timed or verified"
        if board.bits == 32:
            why += "; there are none for a 32-bit system: install the 64-bit one"
        fix = "" if board.bits == 32 else get_engine("onnxruntime").install
        advice.append(Advice(what="NO ENGINE", why=why, fix=fix, severe=True))
    for status in engines:
        engine = get_engine(status.name)
        if not status.version and (engine.device == "cpu" or _has_nvidia(host, board)):
            fix = (board.kind == "jetson" and engine.install_jetson) or status.install
            faster = "; models may run faster on it than on the others" if usable else ""
            advice.append(Advice(what=status.name, why=status.problem + faster, fix=fix))
        elif status.version and (clash := engine.clash()):
            advice.append(Advice(what=status.name, why=clash[0], fix=clash[1]))
    if importlib.util.find_spec("torch") is None:
        why = "`edgecnn export` and `train` need it; a device does not"
        advice.append(Advice(what="torch", why=why, fix=install_command("export", "edgecnn")))
    return advice


def video_advice(board: Board, opencv: OpenCv, cameras: tuple[CameraDevice, ...]) -> list[Advice]:
    """What keeps a picture or a camera from being read."""
    advice = []
    if not opencv.version:
        advice.append(_without_opencv(board, opencv.problem))
    elif _numbers(opencv.version) < MIN_OPENCV:
        oldest = ".".join(map(str, MIN_OPENCV))
        why = f"{opencv.version} is older than {oldest}, the oldest that the tests run with"
        advice.append(Advice(what="OpenCV", why=why, fix=install_command("opencv")))
    elif not opencv.readers.get("gstreamer") and board.kind in {"jetson", "raspberry-pi"}:
        source = "csi:// cameras" if board.kind == "jetson" else "the camera module (libcamerasrc)"
        why = f"{source} and hardware decoding need it; pip's OpenCV has none, the system's has"
        fix = OWN_OPENCV if board.kind == "jetson" else f"{PI_CAMERA}\n{OWN_OPENCV}"
        advice.append(Advice(what="GStreamer in OpenCV", why=why, fix=fix))
    fix = "sudo usermod -aG video $USER, then log in again"
    return advice + [
        Advice(what=camera.device, why=f"{camera.name}: this user may not open it", fix=fix)
        for camera in cameras
        if not camera.usable
    ]


def _without_opencv(board: Board, problem: str) -> Advice:
    why = f"every picture and video needs it, and it cannot be used here: {problem}"
    fix = install_command("opencv")
    if "numpy" in problem.lower() or "_ARRAY_API" in problem:
        why += ". The system's OpenCV was built for another NumPy than the one in this environment"
        fix = "pip install 'numpy<2'"
    elif board.kind == "jetson":
        fix = OWN_OPENCV
    return Advice(what="OpenCV", why=why, fix=fix, severe=True)


def board_advice(host: Host, board: Board) -> list[Advice]:
    """What this kind of machine needs, or is easily taken wrong on it."""
    advice = []
    if board.bits == 32:
        why = "this Python is a 32-bit one, and the engines have no packages for it"
        advice.append(Advice(what="64 bits", why=why, fix="install the 64-bit system"))
    if board.release.endswith(("(JetPack 4)", "(JetPack 5)")):
        why = f"{board.release}: its Python is too old for edgecnn, and TensorRT fits only that one"
        advice.append(Advice(what="JetPack", why=why, fix="install JetPack 6 or newer"))
    if saturates(frozenset(host.features)):
        why = (
            "full-range INT8 saturates on this processor (x86 without VNNI): INT8 is taken in its "
            "reduced range (int8-cpu-rr), which `edgecnn export --int8` makes"
        )
        advice.append(Advice(what="INT8", why=why))
    return advice


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)[:2]))


def _has_nvidia(host: Host, board: Board) -> bool:
    pattern = re.compile("nvidia|tegra|geforce|tesla", re.IGNORECASE)
    return board.kind == "jetson" or any(pattern.search(gpu.name) for gpu in host.gpus)
