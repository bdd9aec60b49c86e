"""Nothing leaves the machine: no look-up, no connection, and no file in the user's home."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgecnn_runtime.backends import installed

STRACE = (
    "strace", "-f", "-qq", "--seccomp-bpf", "-e", "signal=none",
    "-e", "trace=connect,sendto,sendmsg,sendmmsg,open,openat",
)  # fmt: skip
SIGNS = ("AF_INET", "resolv.conf", "/etc/hosts")
"""Of a look-up or a connection, in strace's words."""
SWITCHES = ("ORT_DISABLE_TELEMETRY", "CI", "TF_BUILD", "JENKINS_URL")
"""Variables that keep one engine or another from reporting."""
Watch = Callable[..., list[str]]


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    """Runs Python with these words in a new home; gives what it reached for and left there."""
    if not shutil.which("strace"):
        pytest.skip("needs strace")
    if subprocess.run([*STRACE, "-o", "/dev/null", "true"], check=False).returncode:
        pytest.skip("strace may not trace here")
    home, log = tmp_path / "home", tmp_path / "strace"
    home.mkdir()
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in SWITCHES and not name.startswith("XDG_")
    }
    environment |= {"HOME": str(home), "XDG_STATE_HOME": str(tmp_path / "state")}

    def run(*words: str | Path) -> list[str]:
        done = subprocess.run(
            [*STRACE, "-o", log, sys.executable, *words],
            env=environment, cwd=tmp_path, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        calls = log.read_text(errors="replace").splitlines()
        left = [str(path.relative_to(home)) for path in home.rglob("*")]
        return [call for call in calls if any(sign in call for sign in SIGNS)] + left

    return run


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    cv2.imwrite(str(path), np.full((48, 64, 3), 90, np.uint8))
    return path


def test_a_look_up_and_a_file_are_seen(watch: Watch) -> None:
    """The proof that the other tests can fail."""
    code = (
        "import contextlib, pathlib, socket\n"
        "pathlib.Path.home().joinpath('deviceid').touch()\n"
        "with contextlib.suppress(OSError): socket.getaddrinfo('host.invalid', 443)"
    )
    signs = watch("-c", code)
    assert "deviceid" in signs
    assert len(signs) > 1


@pytest.mark.parametrize("engine", sorted(installed()))
def test_running_a_bundle(watch: Watch, engine: str, picture: Path, root: Path) -> None:
    bundle = root / "tests/data/v1/bundle"
    words = ("run", bundle, picture, "--backend", engine, "--save", "out.png")
    assert watch("-m", "edgecnn", *words) == []


def test_verifying_and_timing_a_bundle(watch: Watch, root: Path) -> None:
    bundle = root / "tests/data/v1/bundle"
    assert watch("-m", "edgecnn", "verify", bundle) == []
    quick = ("--seconds", "0.05", "--rounds", "2", "--warmup", "0", "--starts", "1")
    assert watch("-m", "edgecnn", "bench", bundle, *quick) == []


def test_looking_at_the_machine(watch: Watch) -> None:
    assert watch("-m", "edgecnn", "doctor") == []


@pytest.mark.slow
def test_exporting(watch: Watch, root: Path) -> None:
    """Torch, its exporter, ONNX's tools, the quantizer, and every engine that verifies."""
    checkpoint = root / "edgecnn/demo/digits.pt"
    assert watch("-m", "edgecnn", "export", checkpoint, "--out", "digits.edge") == []


@pytest.mark.parametrize(
    "module",
    ["onnxruntime", "torch", "onnxscript", "timm", "huggingface_hub", "tensorrt_rtx", "av", "rich"],
)
def test_importing_what_else_is_installed(watch: Watch, module: str) -> None:
    """Whoever imports it, after edgecnn_runtime."""
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"needs {module}")
    code = (
        "import contextlib, edgecnn_runtime\n"
        "with contextlib.suppress(RuntimeError):  # a torchvision of another torch, under timm\n"
        f"    import {module}"
    )
    assert watch("-c", code) == []
