"""edgecnn's own commands, each in a process of its own: torch has no place beside what races."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import msgspec

from edgecnn_export.config import ExportConfig
from edgecnn_runtime.types import Pixels
from runner.process import BASELINES

EXPERIMENTS = BASELINES.parent / "experiments"
"""Where the architectures that figures share are imported from."""


def export(config: ExportConfig) -> Path:
    """`edgecnn export`; the bundle it wrote, also where no INT8 passed the gate."""
    out = Path(config.out)
    spec = out.with_suffix(".spec.json")
    said = msgspec.to_builtins(config)
    plain = msgspec.to_builtins(ExportConfig())
    chosen = {key: value for key, value in said.items() if value != plain[key]}
    spec.write_text(json.dumps(chosen), "utf-8")
    edgecnn("export", "--spec", str(spec), allowed=(0, 3))
    if not out.is_dir():
        raise SystemExit(f"{config.model} could not be exported; what was said is above")
    return out


def select(bundle: Path, *, seconds: float, threads: int = 0) -> Path:
    """`edgecnn bench --select` beside the bundle; the cache folder that keeps the choice."""
    cache = bundle.with_suffix(".choice")
    only = ("--threads", str(threads)) if threads else ()
    flags = ("--select", "--cache-dir", str(cache), "--seconds", str(seconds), *only)
    edgecnn("bench", str(bundle), *flags)
    return cache


def edgecnn(*words: str, allowed: tuple[int, ...] = (0,)) -> None:
    """Run a command, what it prints going to standard error. Raises SystemExit where it fails."""
    environment = os.environ | {"PYTHONPATH": str(EXPERIMENTS)}
    command = [sys.executable, "-m", "edgecnn", *words]
    done = subprocess.run(command, check=False, env=environment, stdout=2)
    if done.returncode not in allowed:
        raise SystemExit(f"edgecnn {' '.join(words)} ended with exit code {done.returncode}")


def write_pictures(folder: Path, pictures: list[Pixels]) -> Path:
    """A new folder of PNGs."""
    folder.mkdir()
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(folder / f"{number:03d}.png"), picture)
    return folder
