"""``edgecnn pipeline``: copies a pipeline that ships, with its bundles."""

import argparse
from pathlib import Path

from edgecnn.cli.terminal_text import strip_control

EXAMPLE = """\
  edgecnn pipeline plates gate/        gate/plates.yaml, to be changed, and its bundles
  edgecnn run gate/plates.yaml clip.mp4"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``edgecnn pipeline``."""
    parser.add_argument("name", metavar="NAME", help="a pipeline that ships: plates")
    parser.add_argument("folder", metavar="DIR", type=Path, help="a new or empty folder")


def run(args: argparse.Namespace) -> int:
    """Copy it and say what to do next."""
    from edgecnn.pipelines import copy_shipped

    path = copy_shipped(args.name, args.folder)
    print(strip_control(f"{path}: a copy of {args.name}, with its bundles"))
    print(strip_control(f"next: edgecnn run {path} SOURCE, or name it as a camera's pipeline"))
    return 0
