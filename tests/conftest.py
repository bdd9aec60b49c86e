"""Fixtures every test package shares."""

import functools
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from edgecnn_bench.soak import mqtt_broker
from edgecnn_bench.soak.cameras import SERVER, SYSTEM_PYTHON, has_rtsp_server
from edgecnn_runtime.bundle import manifest
from edgecnn_runtime.bundle.bundle import new_bundle, sha256_file, write_manifest
from edgecnn_runtime.bundle.manifest import (
    Classify,
    Ctc,
    Embed,
    Input,
    ModelSpec,
    Normalization,
    Obb,
    Output,
    Pose,
    Segment,
    Yolo,
)
from edgecnn_runtime.types import (
    Classification,
    Embedding,
    Event,
    Frame,
    FrameResult,
    Reading,
    Timings,
)

# A busy machine is no failure: neither when a test is slow nor when its input is.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

# A shell in the background ignores Ctrl-C and hands that on: the programs under test would never
# end. A handler that is set here becomes the default again in every program started from here.
signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # so does nohup, with SIGHUP
    signal.signal(signal.SIGHUP, lambda *_: None)

SLOW_LIMIT = 1800
"""Seconds that a slow test may take, on a machine that has other work too."""

ROOT = Path(__file__).parent.parent
BITS = 16
"""Squares of the counter that test cameras and clips show."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give slow tests more time than pyproject.toml gives every test."""
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(SLOW_LIMIT))


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's root folder."""
    return ROOT


@pytest.fixture(scope="session")
def assets() -> Path:
    """Real models, video and photographs beside the checkout; they are not part of the project."""
    folder = ROOT.parent / "shared" / "assets"
    if not folder.is_dir():
        pytest.skip("needs the real test material in ../shared/assets")
    return folder


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What tests learn about bundles is kept with the test, not in the home directory."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture(scope="session")
def torchlib() -> Iterator[None]:
    """Lets torch.onnx read the sources of its 500 operators once, and not again for each export.

    That is most of the time of exporting a small network. What it reads does not change.
    """
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    with pytest.MonkeyPatch.context() as patch:
        read_once = functools.cache(ONNXRegistry.from_torchlib)
        patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(read_once))
        yield


@pytest.fixture
def spawn() -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts Python in processes of their own: ``spawn("-m", "edgecnn", …)``, options of Popen.

    They end with the test at the latest, also with one that fails or runs out of time.
    """
    with ExitStack() as processes:

        def start(*words: str, **options: Any) -> "subprocess.Popen[str]":
            process = subprocess.Popen([sys.executable, *words], text=True, **options)
            processes.enter_context(process)
            processes.callback(process.kill)
            return process

        yield start


SIZE, CLASSES = 32, 4


@pytest.fixture(scope="session")
def make_bundle(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a real bundle: a small convolutional classifier that takes raw pixels.

    wrong: its golden outputs are not what it computes. channels: how much there is to compute.
    """

    def make(name: str = "tiny", *, wrong: bool = False, channels: int = 8) -> Path:
        out = tmp_path_factory.mktemp("bundles") / f"{name}.edge"
        with new_bundle(out, overwrite=False) as folder:
            graph = folder / "model.fp32.onnx"
            graph.write_bytes(tiny_graph(channels))
            pixels = distinct_pictures()
            outputs = reference_outputs(graph, pixels)
            golden = folder / "golden.npz"
            np.savez(
                golden, pixels=pixels, **{"output.scores": outputs[::-1] if wrong else outputs}
            )
            write_manifest(folder, tiny_manifest(name, graph, golden))
        return out

    return make


def distinct_pictures() -> "np.ndarray[Any, Any]":
    """uint8[3,32,32,3] BGR: one bluish, one greenish, one reddish, with some texture."""
    pixels = np.random.default_rng(5).integers(0, 60, (3, SIZE, SIZE, 3), np.uint8)
    pixels[[0, 1, 2], :, :, [0, 1, 2]] += 180
    return pixels


def tiny_graph(channels: int) -> bytes:
    """uint8[N,32,32,3] → Cast, Transpose, Conv, Relu, average, Gemm → scores float32[N,4]."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(9)
    weights = {
        "kernel": rng.normal(0, 0.02, (channels, 3, 3, 3)),
        "matrix": rng.normal(0, 1, (channels, CLASSES)),
    }
    nodes = [
        helper.make_node("Cast", ["pixels"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "kernel"], ["features"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["features"], ["active"]),
        helper.make_node("GlobalAveragePool", ["active"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "matrix"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", SIZE, SIZE, 3])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", CLASSES])],
        [numpy_helper.from_array(w.astype(np.float32), name) for name, w in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return model.SerializeToString()


def reference_outputs(graph: Path, pixels: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """What the graph gives, by the onnx package's own evaluator."""
    from onnx.reference import ReferenceEvaluator

    (scores,) = ReferenceEvaluator(str(graph)).run(None, {"pixels": pixels})
    return np.asarray(scores, np.float32)


def tiny_manifest(name: str, graph: Path, golden: Path) -> manifest.Manifest:
    """What an export would say of it."""
    numbers = manifest.Normalization(mean=(0.0,) * 3, std=(1.0,) * 3, origin="preset")
    return manifest.Manifest(
        schema=manifest.SCHEMA_VERSION,
        name=name,
        model=manifest.ModelSpec(
            task="classify",
            input=manifest.Input(width=SIZE, height=SIZE, color="bgr", normalization=numbers),
            outputs=(manifest.Output(name="scores", dtype="float32", shape=(None, CLASSES)),),
            decode=manifest.Classify(output="scores"),
            labels=tuple("abcd"),
            batch=None,
        ),
        artifacts=(
            manifest.Artifact(
                file=graph.name,
                precision="fp32",
                sha256=sha256_file(graph),
                bytes=graph.stat().st_size,
            ),
        ),
        golden=manifest.Golden(
            file=golden.name,
            sha256=sha256_file(golden),
            bytes=golden.stat().st_size,
            count=3,
            pictures="given",
        ),
        provenance=manifest.Provenance(
            source="tiny.onnx",
            source_sha256=sha256_file(graph),
            created="2026-11-22T08:00:00Z",
            command="edgecnn export tiny.onnx",
            versions={},
        ),
    )


@pytest.fixture(scope="session")
def classifier() -> ModelSpec:
    """What ``network`` takes and gives."""
    return ModelSpec(
        task="classify",
        input=Input(
            width=24,
            height=24,
            color="bgr",
            normalization=Normalization(
                mean=(103.5, 116.3, 123.7), std=(1.0, 1.0, 1.0), origin="flag"
            ),
        ),
        outputs=(Output(name="logits", dtype="float32", shape=(None, 6)),),
        decode=Classify(output="logits"),
        labels=tuple("abcdef"),
        batch=None,
    )


@pytest.fixture(scope="session")
def task(classifier: ModelSpec) -> Callable[[str], ModelSpec]:
    """The classifier's spec as one of another task."""

    def change(name: str) -> ModelSpec:
        decode = {
            "detect": Yolo(output="logits", layout="v8", classes=2),
            "ocr": Ctc(output="logits", charset=("A",)),
            "embed": Embed(output="logits"),
            "pose": Pose(output="logits", layout="v8", classes=2, points=2),
            "obb": Obb(output="logits", layout="v8", classes=2),
            "segment": Segment(output="logits", maps="maps", layout="v8", classes=2),
        }[name]
        labels = ("car", "bus") if hasattr(decode, "classes") else ()
        return msgspec.structs.replace(classifier, task=name, decode=decode, labels=labels)

    return change


TASK_OF = {Classification: "classify", Reading: "ocr", list: "detect", Embedding: "embed"}
"""Of results that tests make."""


@pytest.fixture(scope="session")
def frame_result() -> Callable[..., FrameResult]:
    """Makes the result of a gray frame: ``frame_result([detection], index=3, size=(480, 640))``."""

    def make(
        result: Any, *, index: int = 0, pts: float | None = None, age: float | None = None,
        at: float = 0.0, size: tuple[int, int] = (240, 320), gray: int = 90,
        source: str = "rtsp://u:***@cam/1", task: str = "", file: str = "",
    ) -> FrameResult:  # fmt: skip
        pixels = np.full((*size, 3), gray, np.uint8)
        pixels.setflags(write=False)
        frame = Frame(pixels, index, at, pts, source, file=file)
        timings = Timings(0.0, 0.001, 0.005, 0.001)
        return FrameResult(frame, task or TASK_OF[type(result)], result, age, timings)

    return make


@pytest.fixture(scope="session")
def make_event() -> Callable[..., Event]:
    """Makes the event of a number: ``make_event(3, text="AB1")``; ids and times ascend with it.

    Its time lies far in the future, so that it is too old for nothing.
    """

    def make(number: int = 0, **fields: Any) -> Event:
        values = {"type": "recognized", "camera": "gate", "time": 4_000_000_000.0 + number}
        return Event(**{"id": f"{number:032x}", **values, **fields})

    return make


class Filmed:
    """A real RTSP camera in a process of its own; see edgecnn_bench/soak/rtsp_server.py."""

    def __init__(self, *options: str) -> None:
        command = [SYSTEM_PYTHON, str(SERVER), *options]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline().split()[1])
        self.made: dict[int, float] = {}
        """When the picture with each counter was made, on the monotonic clock."""
        threading.Thread(target=self._collect, daemon=True).start()

    def url(self, path: str = "cam", user: str = "") -> str:
        return f"rtsp://{user}127.0.0.1:{self.port}/{path}"

    def freeze(self) -> None:
        """Stop answering without hanging up."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on after ``freeze``."""
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _collect(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            counter, made = line.split()
            self.made[int(counter)] = float(made)


@pytest.fixture
def camera() -> Iterator[Callable[..., Filmed]]:
    """Starts cameras: ``camera("--fps", "15", "--size", "320x240", "--user", "u", …)``."""
    if not has_rtsp_server():
        pytest.skip("needs Debian's gir1.2-gst-rtsp-server-1.0 and python3-gi")
    pytest.importorskip("av")
    started: list[Filmed] = []

    def start(*options: str) -> Filmed:
        started.append(Filmed(*options))
        return started[-1]

    yield start
    for one in started:
        one.kill()


@pytest.fixture
def start_broker(tmp_path: Path) -> Iterator[Callable[..., mqtt_broker.Broker]]:
    """Starts real MQTT brokers: ``start_broker("password_file …")``, lines of their settings."""
    if mqtt_broker.PROGRAM is None:
        pytest.skip("needs Debian's mosquitto")
    brokers: list[mqtt_broker.Broker] = []

    def start(*settings: str) -> mqtt_broker.Broker:
        folder = tmp_path / f"broker-{len(brokers)}"
        folder.mkdir()
        brokers.append(mqtt_broker.Broker(folder, *settings))
        brokers[-1].start()
        return brokers[-1]

    yield start
    for one in brokers:
        one.stop()


@pytest.fixture
def subscribe() -> Iterator[Callable[..., mqtt_broker.Subscriber]]:
    """Subscribes to all of a broker: ``subscribe(port).messages``."""
    pytest.importorskip("paho.mqtt.client")
    subscribers: list[mqtt_broker.Subscriber] = []

    def start(port: int, **options: Any) -> mqtt_broker.Subscriber:
        subscribers.append(mqtt_broker.Subscriber(port, **options))
        return subscribers[-1]

    yield start
    for one in subscribers:
        one.close()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 that signs itself, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    folder = tmp_path_factory.mktemp("certificate")
    files = folder / "certificate.pem", folder / "key.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    words += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    words += ["-out", str(files[0]), "-keyout", str(files[1])]
    subprocess.run(words, check=True, capture_output=True)
    return files


def squares(counter: int, width: int = 320, height: int = 240) -> np.ndarray:
    """A gray picture with the counter's squares across the middle, as the camera films them."""
    side = width // BITS
    top = (height - side) // 2
    picture = np.full((height, width, 3), 128, np.uint8)
    for place in range(BITS):
        bit = counter >> (BITS - 1 - place) & 1
        picture[top : top + side, place * side : (place + 1) * side] = 235 if bit else 16
    return picture


@pytest.fixture(scope="session")
def read_counter() -> Callable[[np.ndarray], int]:
    """The counter in a picture: of the RTSP camera, or of ``make_clip``."""

    def read(pixels: np.ndarray) -> int:
        height, width = pixels.shape[:2]
        side, y = width // BITS, height // 2
        middles = [place * side + side // 2 for place in range(BITS)]
        bits = [pixels[y - 2 : y + 2, x - 2 : x + 2].mean() > 128 for x in middles]
        return sum(1 << (BITS - 1 - place) for place, bit in enumerate(bits) if bit)

    return read


@pytest.fixture(scope="session")
def make_squares() -> Callable[[int], np.ndarray]:
    """A picture that shows a counter, 320x240."""
    return squares


@pytest.fixture(scope="session")
def make_clip() -> Callable[..., Path]:
    """Writes a video whose frames carry a counter from 0: ``make_clip(path, frames=30)``."""

    def make(path: Path, frames: int = 30, fps: float = 25.0) -> Path:
        fourcc = "mp4v" if path.suffix == ".mp4" else "MJPG"
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*fourcc), fps, (320, 240))
        for counter in range(frames):
            writer.write(squares(counter))
        writer.release()
        return path

    return make


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder in which nothing can be made; for root, to whom modes mean nothing, the kernel's."""
    if os.geteuid() == 0:
        yield Path("/sys")
        return
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o500)
    yield folder
    folder.chmod(0o700)
