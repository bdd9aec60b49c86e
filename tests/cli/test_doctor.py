"""`edgecnn doctor` names what is there, and what is missing with the line that brings it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from edgecnn import doctor
from edgecnn.board import Board, find_board
from edgecnn.cli import main
from edgecnn.doctor import (
    CameraDevice,
    Diagnosis,
    EngineStatus,
    OpenCv,
    board_advice,
    diagnose,
    engine_advice,
    video_advice,
)
from edgecnn_bench.host import Gpu, fingerprint
from edgecnn_runtime.backends import onnxruntime, real_engines

PC = Board(kind="other", name="PC")
JETSON = Board(kind="jetson", name="NVIDIA Jetson Orin Nano", release="L4T 36.4 (JetPack 6)")
PI = Board(kind="raspberry-pi", name="Raspberry Pi 5 Model B Rev 1.0")
PIP_OPENCV = OpenCv(version="5.0.0", readers={"ffmpeg": True, "gstreamer": False, "v4l2": True})


def test_json_is_the_whole_diagnosis() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edgecnn", "doctor", "--json"],
        check=True,
        capture_output=True,
        text=True,
    )
    diagnosis = msgspec.json.decode(done.stdout, type=Diagnosis)
    engines = {engine.name: engine for engine in diagnosis.engines}
    import onnxruntime

    assert engines["onnxruntime"].version == onnxruntime.__version__
    assert "f32" in engines["onnxruntime"].precisions
    assert json.loads(done.stdout)["host"]["cores"] >= 1


def test_a_missing_engine_comes_with_its_install_line() -> None:
    missing = EngineStatus(name="openvino", problem="not installed", install="pip install it")
    advice = {each.what: each for each in engine_advice(fingerprint(), PC, (missing,))}
    assert advice["openvino"].fix == "pip install it"


def test_a_jetson_gets_what_nvidia_has_for_it() -> None:
    missing = EngineStatus(name="tensorrt", problem="not installed", install="pip install it")
    advice = {each.what: each.fix for each in engine_advice(fingerprint(), JETSON, (missing,))}
    assert "sudo apt install python3-libnvinfer" in advice["tensorrt"]


def test_wheels_that_overwrite_each_other_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    both = ("onnxruntime", "numpy")  # stands for onnxruntime-gpu
    engine = replace(onnxruntime.ENGINE, exclusive=both)
    monkeypatch.setattr(onnxruntime, "ENGINE", engine)
    present = EngineStatus(name="onnxruntime", version="1.0")
    advice = {each.what: each for each in engine_advice(fingerprint(), PC, (present,))}
    assert "onnxruntime and numpy are installed side by side" in advice["onnxruntime"].why
    assert advice["onnxruntime"].fix.startswith("pip uninstall -y onnxruntime numpy && pip install")


def test_tensorrt_is_only_missed_where_a_gpu_could_use_it() -> None:
    missing = EngineStatus(name="tensorrt", problem="not installed", install="see NVIDIA")
    host = msgspec.structs.replace(fingerprint(), gpus=())
    assert not any(each.what == "tensorrt" for each in engine_advice(host, PC, (missing,)))
    host = msgspec.structs.replace(host, gpus=(Gpu(name="NVIDIA L4"),))
    assert any(each.what == "tensorrt" for each in engine_advice(host, PC, (missing,)))


def test_a_camera_this_user_may_not_open_names_the_group() -> None:
    camera = CameraDevice(device="/dev/video0", name="UVC", usable=False)
    assert "usermod -aG video" in video_advice(PC, PIP_OPENCV, (camera,))[0].fix


@pytest.mark.parametrize("board", [JETSON, PI])
def test_a_board_without_gstreamer_is_told_how_to_get_it(board: Board) -> None:
    advice = video_advice(board, PIP_OPENCV, ())[0]
    assert "--system-site-packages" in advice.fix
    assert ("python3-opencv" in advice.fix) == (board is PI), "JetPack brings one"
    assert not video_advice(PC, PIP_OPENCV, ())


def test_an_opencv_that_is_too_old_is_named() -> None:
    old = OpenCv(version="4.2.0", readers={"gstreamer": True})
    assert "4.2.0 is older than" in video_advice(PC, old, ())[0].why


def test_diagnosing_loads_no_engine() -> None:
    code = "import sys, edgecnn.doctor as d; d.diagnose(); sys.exit('openvino' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert diagnose().video["ffmpeg"] in {True, False}


# --- nothing ends it ----------------------------------------------------------------------------


def test_a_probe_that_fails_is_one_line_of_the_diagnosis(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ZeroDivisionError("of a driver")

    engine = replace(onnxruntime.ENGINE, find_device=broken)
    monkeypatch.setattr(onnxruntime, "ENGINE", engine)
    for name in ("fingerprint", "find_board", "find_opencv", "attached_cameras", "board_advice"):
        monkeypatch.setattr(doctor, name, broken)
    diagnosis = diagnose()
    failures = {each.what for each in diagnosis.advice if "ZeroDivisionError" in each.why}
    assert {"machine", "onnxruntime", "board", "OpenCV", "cameras"} <= failures
    assert diagnosis.engines[0].problem
    monkeypatch.setattr(doctor, "diagnose", lambda: diagnosis)
    assert main(["doctor"]) == 0


@pytest.fixture
def diagnose_with(tmp_path: Path) -> Callable[[str], Diagnosis]:
    """What the command prints where ``import cv2`` runs this code."""

    def run(code: str) -> Diagnosis:
        (tmp_path / "cv2.py").write_text(code)
        command = [sys.executable, "-m", "edgecnn", "doctor", "--json"]
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        done = subprocess.run(command, env=environment, check=True, capture_output=True)
        return msgspec.json.decode(done.stdout, type=Diagnosis)

    return run


def test_an_opencv_that_kills_the_process_is_survived(
    diagnose_with: Callable[[str], Diagnosis],
) -> None:
    diagnosis = diagnose_with("import os, signal; os.kill(os.getpid(), signal.SIGILL)")
    assert "SIGILL" in diagnosis.opencv.problem
    assert diagnosis.advice[0].severe


def test_an_opencv_for_another_numpy_is_told_what_to_type(
    diagnose_with: Callable[[str], Diagnosis],
) -> None:
    diagnosis = diagnose_with("raise ImportError('numpy.core.multiarray failed to import')")
    assert diagnosis.advice[0].what == "OpenCV"
    assert diagnosis.advice[0].fix == "pip install 'numpy<2'"


def test_no_opencv_is_told_what_to_type(diagnose_with: Callable[[str], Diagnosis]) -> None:
    diagnosis = diagnose_with("raise ModuleNotFoundError(name='cv2')")
    assert not diagnosis.opencv.version
    assert "opencv" in diagnosis.advice[0].fix


# --- what is printed ----------------------------------------------------------------------------


def test_without_any_engine_it_says_so_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engines = [replace(each, packages=("absent-one",)) for each in real_engines()]
    monkeypatch.setattr(doctor, "real_engines", lambda: engines)
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert "NO ENGINE: no inference engine can be used here" in printed
    assert diagnose().advice[0].fix == onnxruntime.ENGINE.install


def test_lines_to_copy_are_printed_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither broken in a narrow terminal, nor with brackets taken for colors."""
    monkeypatch.setenv("COLUMNS", "40")
    fix = "pip install 'onnxruntime-gpu[cuda,cudnn]>=1.23' 'cuda-bindings>=12.8' './runtime[red]'"
    why = "it has no [openvino] extra"
    advice = doctor.Advice(what="x[bold]", why=why, fix=f"{fix}\nthen this")
    diagnosis = msgspec.structs.replace(diagnose(), advice=(advice,))
    monkeypatch.setattr(doctor, "diagnose", lambda: diagnosis)
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert f"  {fix}" in printed
    assert "  then this" in printed
    assert f"x[bold]: {why}" in printed


# --- boards -------------------------------------------------------------------------------------


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_a_raspberry_pi_is_recognized(tmp_path: Path) -> None:
    files = {"proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0"}
    board = find_board(tree(tmp_path, files))
    assert (board.kind, board.full_name()) == ("raspberry-pi", "Raspberry Pi 5 Model B Rev 1.0")
    small = find_board(tmp_path, bits=32)
    assert "32-bit" in board_advice(fingerprint(), small)[0].why
    none = EngineStatus(name="onnxruntime", problem="not installed")
    assert "32-bit" in engine_advice(fingerprint(), small, (none,))[0].why


def test_a_jetson_is_recognized(tmp_path: Path) -> None:
    line = "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64"
    model = "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0"
    board = find_board(tree(tmp_path, {"proc/device-tree/model": model}))
    assert board.kind == "jetson", "in a container that has no nv_tegra_release"
    board = find_board(tree(tmp_path, {"etc/nv_tegra_release": line}))
    assert board.kind == "jetson"
    assert board.release == "L4T 36.4.3 (JetPack 6)"
    assert board.name.startswith("NVIDIA Jetson Orin Nano")
    old = find_board(tree(tmp_path, {"etc/nv_tegra_release": line.replace("R36", "R35")}))
    assert any(each.what == "JetPack" for each in board_advice(fingerprint(), old))


@pytest.mark.parametrize(
    ("vendor", "product", "chassis", "kind", "name"),
    [
        ("ASUSTeK COMPUTER INC.", "NUC14RVH", "35", "mini-pc", "ASUSTeK COMPUTER INC. NUC14RVH"),
        ("Dell Inc.", "Precision 3660", "3", "other", "Dell Inc. Precision 3660"),
        ("Default string", "To Be Filled By O.E.M.", "3", "other", ""),
        ("Intel(R) Client Systems", "NUC11TNHi5", "3", "mini-pc", None),
    ],
)
def test_a_pc_is_called_what_its_firmware_says(
    tmp_path: Path, vendor: str, product: str, chassis: str, kind: str, name: str | None
) -> None:
    values = {"sys_vendor": vendor, "product_name": product, "chassis_type": chassis}
    files = {f"sys/class/dmi/id/{key}": value + "\n" for key, value in values.items()}
    board = find_board(tree(tmp_path, files))
    assert board.kind == kind
    assert name is None or board.name == name


def test_a_processor_whose_sums_saturate_is_named() -> None:
    host = msgspec.structs.replace(fingerprint(), features=("avx2", "fma"))
    assert "int8-cpu-rr" in board_advice(host, PC)[0].why
    host = msgspec.structs.replace(host, features=("avx2", "avx_vnni"))
    assert not board_advice(host, PC)
