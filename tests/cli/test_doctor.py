"""`edgecnn doctor` names what is there, and what is missing with the line that brings it."""

import json
import subprocess
import sys
from dataclasses import replace

import msgspec
import pytest

from edgecnn.doctor import (
    CameraDevice,
    Diagnosis,
    EngineStatus,
    diagnose,
    engine_advice,
    video_advice,
)
from edgecnn_bench.host import Gpu, fingerprint
from edgecnn_runtime.backends import onnxruntime


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
    found = [
        advice for advice in engine_advice(fingerprint(), (missing,)) if advice.what == "openvino"
    ]
    assert found[0].fix == "pip install it"


def test_a_jetson_gets_what_nvidia_has_for_it() -> None:
    missing = EngineStatus(name="tensorrt", problem="not installed", install="pip install it")
    host = msgspec.structs.replace(fingerprint(), gpus=(Gpu(name="Tegra"),))
    advice = {advice.what: advice.fix for advice in engine_advice(host, (missing,))}
    assert "sudo apt install python3-libnvinfer" in advice["tensorrt"]


def test_wheels_that_overwrite_each_other_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    both = ("onnxruntime", "numpy")  # stands for onnxruntime-gpu
    engine = replace(onnxruntime.ENGINE, exclusive=both)
    monkeypatch.setattr(onnxruntime, "ENGINE", engine)
    present = EngineStatus(name="onnxruntime", version="1.0")
    advice = {advice.what: advice for advice in engine_advice(fingerprint(), (present,))}
    assert "onnxruntime and numpy are installed side by side" in advice["onnxruntime"].why
    assert advice["onnxruntime"].fix.startswith("pip uninstall -y onnxruntime numpy && pip install")


def test_tensorrt_is_only_missed_where_a_gpu_could_use_it() -> None:
    missing = EngineStatus(name="tensorrt", problem="not installed", install="see NVIDIA")
    host = msgspec.structs.replace(fingerprint(), gpus=())
    assert not any(advice.what == "tensorrt" for advice in engine_advice(host, (missing,)))
    host = msgspec.structs.replace(host, gpus=(Gpu(name="NVIDIA L4"),))
    assert any(advice.what == "tensorrt" for advice in engine_advice(host, (missing,)))


def test_a_camera_this_user_may_not_open_names_the_group() -> None:
    camera = CameraDevice(device="/dev/video0", name="UVC", usable=False)
    advice = video_advice(fingerprint(), {"gstreamer": True}, (camera,))
    assert "usermod -aG video" in advice[0].fix


def test_a_board_without_gstreamer_is_told_how_to_get_it() -> None:
    host = msgspec.structs.replace(fingerprint(), board="NVIDIA Jetson Orin Nano")
    assert "--system-site-packages" in video_advice(host, {"gstreamer": False}, ())[0].fix


def test_diagnosing_loads_no_engine() -> None:
    code = "import sys, edgecnn.doctor as d; d.diagnose(); sys.exit('openvino' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert diagnose().video["ffmpeg"] in {True, False}
