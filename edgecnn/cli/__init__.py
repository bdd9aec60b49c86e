"""The ``edgecnn`` command: one file per subcommand, imported only when it is typed.

The file of ``train plate-reader`` is ``train_plate_reader.py``. A command module provides

    EXAMPLE: str                         lines shown at the end of --help
    def add_arguments(parser) -> None    its flags
    def run(args) -> int                 calls ONE library function and prints; the exit code

Exit codes: 0 done, 1 anything else, 2 usage, 3 verification failed, 4 unsupported model,
5 backend or extra missing, 6 source lost, 130 interrupted.
"""

import argparse
import difflib
import importlib
import io
import json
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from edgecnn.cli.terminal_text import strip_control
from edgecnn_runtime import __version__
from edgecnn_runtime.errors import BackendMissingError, EdgecnnError
from edgecnn_runtime.requirements import install_command, require_opencv

COMMANDS: Mapping[str, str] = {
    "train": "train one of the seed networks on images or IDX files",
    "train plate-detector": "train what finds license plates, on rendered scenes",
    "train plate-reader": "train what reads license plates, on rendered plates",
    "export": "turn a trained model into a verified bundle",
    "inspect": "show what a bundle contains and where it came from",
    "eval": "measure a bundle's accuracy on labeled pictures, every artifact beside float",
    "verify": "replay a bundle's golden data on every engine installed here",
    "bench": "time a bundle on every engine installed here",
    "run": "run a bundle on cameras, streams, videos or pictures",
    "pipeline": "copy a pipeline that ships, to change it or to serve it",
    "events": "list or export the events that the daemon has stored",
    "cameras": "list the cameras of this machine and network, and write a site.yaml of them",
    "pack": "make one .tar of a bundle, for scp",
    "unpack": "check and unpack a packed bundle",
    "serve": "run cameras, events and the page as a site.yaml describes them",
    "token": "show what lets a person or a program into the page",
    "soak": "let a site run on clips while cameras, disk, sinks and clock fail",
    "doctor": "show what this machine offers and what is missing",
}
EXPORT_PACKAGES = {"torch", "onnx", "onnxscript", "safetensors", "jinja2"}
"""What only the extra named export installs."""


class Parser(argparse.ArgumentParser):
    """An argparse parser that suggests the nearest flag or command."""

    def error(self, message: str) -> NoReturn:
        """Print the message, the nearest match and how to get help; exit with 2."""
        self.exit(2, f"edgecnn: {message}{self._hint()}\n`{self.prog} --help` lists everything\n")

    def _hint(self) -> str:
        known = [flag for action in self._actions for flag in action.option_strings]
        known += [name for a in self._actions if isinstance(a.choices, dict) for name in a.choices]
        for word in sys.argv[1:]:
            name = word.split("=")[0]
            if name not in known and (close := difflib.get_close_matches(name, known, 1, 0.7)):
                return f"\ndid you mean {close[0]}?"
        return ""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Its words; None takes those of the process.

    Returns:
        The exit code. An ``EdgecnnError`` becomes one message and its own exit code.
    """
    words = _joined(list(sys.argv[1:] if argv is None else argv))
    try:
        code = _run(words)
        sys.stdout.flush()
        return code
    except (BrokenPipeError, SystemExit) as end:  # SystemExit: what rich makes of a broken pipe
        if not isinstance(end.__context__ if isinstance(end, SystemExit) else end, BrokenPipeError):
            raise
        _give_up_stdout()  # its reader has enough, as `head` has
        return 0
    except OSError as error:  # a full disk, a missing permission, a terminal that was closed
        place = f"{error.filename}: " if error.filename else ""
        _give_up_stdout()
        with suppress(OSError):
            message = strip_control(f"{place}{error.strerror or error}")
            print(f"edgecnn {_command(words)}: {message}", file=sys.stderr)
        return EdgecnnError.exit_code


def entry() -> NoReturn:
    """Run ``main`` and end the process.

    A read from a camera that does not answer cannot be stopped, only abandoned. If the interpreter
    shuts down while a thread is inside FFmpeg, it may crash. So in that case the process ends
    without a shutdown.
    """
    # Our errors name the file; OpenCV adds its source lines. Before it is imported.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us, as some services do
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without our letters shows a "?"
            stream.reconfigure(errors="replace")
    code = main()
    if any(thread.daemon for thread in threading.enumerate()):
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # closed by whoever read it, or by us
                stream.flush()
        os._exit(code)
    raise SystemExit(code)


def _run(words: Sequence[str]) -> int:
    args = argparse.Namespace(command=_command(words), json="--json" in words)
    try:
        args = _parse(words)  # imports the command, and may miss OpenCV then
        return int(args.run(args))
    except EdgecnnError as error:
        return _fail(args, error, error.exit_code)
    except ImportError as error:
        return _fail(args, _missing_package(error), BackendMissingError.exit_code)
    except KeyboardInterrupt:
        print("edgecnn: interrupted", file=sys.stderr)
        return 130


def import_command(name: str) -> ModuleType:
    """The module of a command."""
    return importlib.import_module(f"edgecnn.cli.{name.replace(' ', '_').replace('-', '_')}")


def _joined(words: list[str]) -> list[str]:
    """The words, those of a command of two words as one."""
    both = " ".join(words[:2])
    return [both, *words[2:]] if both in COMMANDS else words


def _command(words: Sequence[str]) -> str:
    """The subcommand among the words; "" without one."""
    return next((word for word in words if not word.startswith("-")), "")


def _parse(words: Sequence[str]) -> argparse.Namespace:
    parser = Parser(
        prog="edgecnn",
        description="From a trained CNN to a verified bundle to a camera at the edge.",
        epilog="example:\n  edgecnn export model.pt && edgecnn run model.edge rtsp://camera/1",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"edgecnn {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    chosen = _command(words)
    chosen_parser: argparse.ArgumentParser = parser
    for name, summary in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        if name == chosen:
            module = import_command(name)
            module.add_arguments(command)
            command.epilog = f"example:\n{module.EXAMPLE}"
            command.set_defaults(run=module.run, command=name)
            chosen_parser = command
    args, unknown = parser.parse_known_args(words)
    if unknown:
        chosen_parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    return args


def _give_up_stdout() -> None:
    """Let what standard output does not take vanish, or the interpreter complains at its end."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError), Path(os.devnull).open("wb") as nothing:
            os.dup2(nothing.fileno(), sys.stdout.fileno())


def _fail(args: argparse.Namespace, error: Exception, code: int) -> int:
    if getattr(args, "json", False):
        out = sys.stderr if getattr(args, "lines_on_stdout", False) else sys.stdout
        message = {"error": type(error).__name__, "message": str(error), "exit": code}
        print(json.dumps(message), file=out)
    else:
        print(f"edgecnn {args.command}: {strip_control(str(error))}", file=sys.stderr)
    return code


def _missing_package(error: ImportError) -> BackendMissingError:
    """What to install, where an extra is absent, or OpenCV or NumPy cannot be loaded."""
    package = (error.name or "").split(".")[0]
    if package in EXPORT_PACKAGES:
        command = install_command("export", "edgecnn")
        return BackendMissingError(
            f"this command needs {package}, which is not installed: {command}"
        )
    try:
        import numpy  # noqa: F401  (imported to see whether it can be)
    except ImportError as problem:
        reason = (str(problem).strip().splitlines() or [""])[-1]
        return BackendMissingError(
            f"NumPy cannot be loaded ({reason}): pip install --force-reinstall 'numpy>=1.24'"
        )
    try:
        require_opencv()
    except BackendMissingError as missing:
        return missing
    raise error
