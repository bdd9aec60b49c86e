"""edgecnn's own commands, each in a process of its own, so that torch is not beside what races."""

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec

from edgecnn_export.config import ExportConfig
from runner.process import BASELINES

EXPERIMENTS = BASELINES.parent / "experiments"
"""Folder from which the experiments' architectures are imported."""


def export(config: ExportConfig) -> Path:
    """Run `edgecnn export`; return the bundle, also where no INT8 passed the gate."""
    out = Path(config.out)
    spec = out.with_suffix(".spec.json")
    defaults = msgspec.to_builtins(ExportConfig())
    settings = msgspec.to_builtins(config).items()
    changes = {key: value for key, value in settings if value != defaults[key]}
    spec.write_text(json.dumps(changes), "utf-8")
    edgecnn("export", "--spec", str(spec), allowed=(0, 3))
    if not out.is_dir():
        raise SystemExit(f"{config.model} could not be exported; its messages are above")
    return out


def select(bundle: Path, *, seconds: float, threads: int = 0) -> Path:
    """Run `edgecnn bench --select`; return the cache folder, beside the bundle, with the choice."""
    cache = bundle.with_suffix(".choice")
    thread_flags = ("--threads", str(threads)) if threads else ()
    flags = ("--select", "--cache-dir", str(cache), "--seconds", str(seconds), *thread_flags)
    edgecnn("bench", str(bundle), *flags)
    return cache


def edgecnn(*words: str, allowed: tuple[int, ...] = (0,)) -> None:
    """Run a command; what it prints goes to standard error.

    Raises:
        SystemExit: Its exit code is not an ``allowed`` one.
    """
    environment = os.environ | {"PYTHONPATH": str(EXPERIMENTS)}
    command = [sys.executable, "-m", "edgecnn", *words]
    done = subprocess.run(command, check=False, env=environment, stdout=2)
    if done.returncode not in allowed:
        raise SystemExit(f"edgecnn {' '.join(words)} ended with exit code {done.returncode}")
