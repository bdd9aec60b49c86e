"""A new task, engine, sink or INT8 scheme is a file and a line, as CONTRIBUTING.md says.

Each is added to a copy of the packages, and the whole product runs with all five: export, inspect,
verify, run, bench, the report and doctor. None of them is imported by anything that was not
edited, so what works here works for a real one.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

pytestmark = pytest.mark.xdist_group("new parts")  # one copy and one bundle for all of them

RUNTIME = "runtime/edgecnn_runtime"
EVENTS = f"{RUNTIME}/sinks/events"
QUANTIZATION = "export/edgecnn_export/quantization"


class Edit(NamedTuple):
    """A line of a file, and what replaces it; a new file has no such line."""

    file: str
    line: str
    text: str


def add(file: str, line: str, *, before: str = "", after: str = "") -> Edit:
    """Text before or after a line that stays."""
    return Edit(file, line, f"{before}{line}{after}")


TASK = [
    add(f"{RUNTIME}/types.py", "Result: TypeAlias = ", after="Amount | ", before='''\
class Amount(msgspec.Struct, frozen=True):
    """How much of something a picture shows."""

    value: float


'''),
    add(f"{RUNTIME}/bundle/manifest.py", "Decode: TypeAlias = ", after="Sum | ", before='''\
class Sum(Part, frozen=True, kw_only=True, tag_field="head", tag="sum"):
    """scores[N,C] → their sum."""

    output: str


'''),
    Edit(f"{RUNTIME}/decode/sum.py", "", '''\
from edgecnn_runtime.types import Amount


class SumDecoder:
    def __init__(self, spec, _model):
        self._output = spec.output

    def decode(self, outputs, item, _geometry, /):
        return Amount(float(outputs[self._output][item].sum()))
'''),
    Edit(f"{RUNTIME}/tasks/amount.py", "", '''\
from edgecnn_runtime.bundle import manifest
from edgecnn_runtime.decode.sum import SumDecoder
from edgecnn_runtime.draw import PALETTE, BannerLine
from edgecnn_runtime.tasks.base import Matches

decoders = {manifest.Sum: SumDecoder}
columns = ("amount",)
decides, locates = False, False


def serialize(result):
    return [{"amount": round(result.value, 3)}]


def draw(canvas, result):
    canvas.banner([BannerLine(summarize(result), None, PALETTE[0])])


def count(_result):
    return 1


def matches(ours, reference, _threshold):
    return Matches(int(abs(ours.value - reference.value) < 0.5), 1)


def distances(_ours, _reference, _threshold):
    return ()


def summarize(result):
    return f"amount {result.value:.1f}"
'''),
    add(f"{RUNTIME}/tasks/__init__.py", '    "embed": embed,', after='\n    "amount": amount,'),
    add(f"{RUNTIME}/tasks/__init__.py", "import classify,", after=" amount,"),
]  # fmt: skip
ENGINE = [
    Edit(f"{RUNTIME}/backends/mirror.py", "", '''\
from dataclasses import replace

from edgecnn_runtime.backends import onnxruntime

ENGINE = replace(
    onnxruntime.ENGINE, name="mirror", label="Mirror", packages=("numpy",), exclusive=(),
    extra="mirror", targets=("any", "coarse"),
)
'''),
    add(
        f"{RUNTIME}/backends/__init__.py", "BACKENDS: dict[str, str] = {",
        after='\n    "mirror": "edgecnn_runtime.backends.mirror",',
    ),
    add("runtime/pyproject.toml", "[project.optional-dependencies]", after='\nmirror = ["numpy"]'),
]  # fmt: skip
SINK = [
    Edit(f"{RUNTIME}/sinks/tally.py", "", '''\
from edgecnn_runtime.sinks.base import SinkKind


class Tally:
    def __init__(self, path):
        self._path, self._frames = path, 0

    def write(self, _result, /):
        self._frames += 1

    def close(self):
        self._path.write_text(f"{self._frames} frames")


KIND = SinkKind(
    flag="tally", help="how many frames there were", summary_key="tally",
    open=lambda path, _stream: Tally(path),
)
'''),
    add(f"{RUNTIME}/sinks/__init__.py", '    "csv": csv.KIND,', after='\n    "tally": tally.KIND,'),
    add(f"{RUNTIME}/sinks/__init__.py", "import csv,", after=" tally,"),
]  # fmt: skip
EVENT_SINK = [
    Edit(f"{EVENTS}/bell.py", "", '''\
from edgecnn_runtime.sinks.events.base import EventSinkKind, SinkSettings


class BellSettings(SinkSettings, frozen=True, kw_only=True, tag_field="kind", tag="bell"):
    tone: int = 440


class Bell:
    def __init__(self, settings, context):
        self._path, self._tone = context.folder / "bell.txt", settings.tone

    def start(self):
        pass

    def deliver(self, events, /):
        with self._path.open("a") as file:
            file.writelines(f"{self._tone} {event.id}\\n" for event in events)

    def close(self):
        pass


KIND = EventSinkKind(settings=BellSettings, open=Bell)
'''),
    add(f"{EVENTS}/__init__.py", '    "csv": csv.KIND,', after='\n    "bell": bell.KIND,'),
    add(f"{EVENTS}/__init__.py", "events import ", after="bell, "),
]  # fmt: skip
SCHEME = [
    add(
        f"{QUANTIZATION}/schemes.py", '    "trt": QuantScheme(',
        before='    "coarse": QuantScheme(WEIGHTED),\n',
    ),
    add(f"{RUNTIME}/bundle/manifest.py", '"openvino", "cpu-rr", "trt"', after=', "coarse"'),
    # and the engine it is for: mirror.py above
]  # fmt: skip


@pytest.mark.parametrize(
    ("edits", "limit", "elsewhere"),
    [(TASK, 5, 0), (ENGINE, 3, 0), (SINK, 2, 0), (EVENT_SINK, 2, 0), (SCHEME, 3, 1)],
)
def test_few_files_are_touched(edits: list[Edit], limit: int, elsewhere: int) -> None:
    """elsewhere: files that are edited for it in another list."""
    assert len({edit.file for edit in edits}) + elsewhere <= limit


@pytest.fixture(scope="module")
def command(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Runs ``edgecnn`` as it is with all five parts; returns what it prints."""
    copy = tmp_path_factory.mktemp("product")
    for package in ("edgecnn", "export", "runtime", "bench/edgecnn_bench"):
        shutil.copytree(
            root / package, copy / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    for edit in [*TASK, *ENGINE, *SINK, *EVENT_SINK, *SCHEME]:
        path = copy / edit.file
        if not edit.line:
            assert not path.exists()
            path.write_text(edit.text)
            continue
        text = path.read_text()
        assert text.count(edit.line) == 1, f"{edit.file} has changed: {edit.line}"
        path.write_text(text.replace(edit.line, edit.text))
    folders = [copy, copy / "export", copy / "runtime", copy / "bench"]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, folders)),
        "XDG_STATE_HOME": str(copy / "state"),
    }

    def run(*words: str | Path) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "edgecnn", *map(str, words)],
            cwd=copy, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"edgecnn {' '.join(map(str, words))}\n{done.stderr[-3000:]}"
        return done.stdout

    return run


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty pictures of colored noise around different means."""
    import cv2

    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(1)
    for number in range(40):
        noise = random.normal(random.uniform(40, 210, 3), 30, (48, 64, 3))
        cv2.imwrite(str(folder / f"{number}.png"), noise.clip(0, 255).astype(np.uint8))
    return folder


@pytest.fixture(scope="module")
def bundle(
    command: Callable[..., str], images: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A network exported for the new task, in float and in the new INT8 form."""
    folder = tmp_path_factory.mktemp("bundle")
    random = np.random.default_rng(2)
    weights = {
        "kernel": random.normal(0, 0.3, (8, 3, 3, 3)).astype(np.float32),
        "matrix": random.normal(0, 1, (8, 4)).astype(np.float32),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["image", "kernel"], ["features"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["features"], ["active"]),
            helper.make_node("GlobalAveragePool", ["active"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("MatMul", ["flat", "matrix"], ["scores"]),
        ],
        "network",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 32, 32])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, folder / "network.onnx")
    command(
        "export", folder / "network.onnx", "--out", folder / "network.edge", "--task", "amount",
        "--head", "sum", "--decode", '{"output": "scores"}', "--preset", "unit", "--images", images,
        "--int8", "--calib", images, "--targets", "coarse", "--method", "minmax",
    )  # fmt: skip
    return folder / "network.edge"


def test_the_bundle_has_the_task_and_the_form(command: Callable[..., str], bundle: Path) -> None:
    manifest = json.loads(command("inspect", bundle, "--json"))["manifest"]
    assert manifest["model"]["task"] == "amount"
    assert [artifact["target"] for artifact in manifest["artifacts"]] == ["any", "coarse"]
    runs = {run["engine"] for run in manifest["artifacts"][1]["runs"]}
    assert runs == {"mirror/f32"}, "the engine that takes the form judges it"
    assert "amount" in (bundle / "report.html").read_text()
    verdicts = json.loads(command("verify", bundle, "--json"))["verdicts"]
    assert {verdict["engine"] for verdict in verdicts} >= {"mirror/f32", "onnxruntime/f32"}


def test_run_gives_results_to_every_sink(
    command: Callable[..., str], bundle: Path, images: Path, tmp_path: Path
) -> None:
    command(
        "run", bundle, images, "--backend", "mirror", "--tally", tmp_path / "tally.txt",
        "--csv", tmp_path / "table.csv", "--save", f"{tmp_path}/pictures/",
    )  # fmt: skip
    assert (tmp_path / "tally.txt").read_text() == "40 frames"
    header, *rows = (tmp_path / "table.csv").read_text().splitlines()
    assert "amount" in header.split(",")
    assert len(rows) == 40
    assert len(list((tmp_path / "pictures").iterdir())) == 40
    assert "--tally FILE" in command("run", "--help")


def test_a_site_may_have_the_event_sink(
    command: Callable[..., str], root: Path, tmp_path: Path
) -> None:
    """Its settings are checked as those of any other kind."""
    bundle = root / "tests" / "data" / "v1" / "bundle"
    site = tmp_path / "site.yaml"
    text = f"""\
cameras: {{gate: {{source: "rtsp://127.0.0.1:9/none", pipeline: {bundle}}}}}
sinks: {{door: {{kind: bell, tone: 220}}}}
http: {{listen: ""}}
state: {tmp_path}/state
"""
    site.write_text(text)
    command("serve", "--check", site)
    site.write_text(text.replace("tone: 220", "tone: high"))
    with pytest.raises(AssertionError, match="serve --check"):
        command("serve", "--check", site)


def test_bench_and_its_report_show_the_engine(
    command: Callable[..., str], bundle: Path, tmp_path: Path
) -> None:
    quick = ("--seconds", "0.05", "--rounds", "6", "--warmup", "0.01", "--starts", "1")
    command("bench", bundle, *quick, "--threads", "1", "--out", tmp_path / "bench.json")
    rows = json.loads((tmp_path / "bench.json").read_text())["rows"]
    assert {row["backend"] for row in rows} >= {"mirror", "onnxruntime"}
    command("bench", "report", tmp_path / "bench.json", "--out", tmp_path / "bench.html")
    assert "mirror" in (tmp_path / "bench.html").read_text()


def test_doctor_lists_the_engine(command: Callable[..., str]) -> None:
    engines = json.loads(command("doctor", "--json"))["engines"]
    assert "mirror" in {engine["name"] for engine in engines}
