"""``edgecnn doctor``: what this machine offers, and what is missing."""

import argparse
from typing import TYPE_CHECKING

from edgecnn.cli.tables import plain_table
from edgecnn.cli.terminal_text import strip_control

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from edgecnn.doctor import Advice, Diagnosis

EXAMPLE = """\
  edgecnn doctor            CPU, GPU, engines and cameras; what is missing, and the command for it
  edgecnn doctor --json     the same, for a script"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``edgecnn doctor``."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def run(args: argparse.Namespace) -> int:
    """Print the diagnosis; always 0, because a missing part is not an error."""
    from edgecnn.doctor import diagnose

    diagnosis = diagnose()
    if args.json:
        import msgspec

        print(msgspec.json.format(msgspec.json.encode(diagnosis), indent=2).decode())
        return 0

    from rich.console import Console

    # no markup: install lines are full of brackets
    console = Console(emoji=False, markup=False, highlight=False)
    for part in (_machine(diagnosis), _engines(diagnosis), _cameras(diagnosis)):
        console.print(part)
    for advice in diagnosis.advice:
        console.print(_advice(advice), soft_wrap=True)  # lines to copy are never broken
    return 0


def _machine(diagnosis: "Diagnosis") -> "Table":
    from rich.table import Table

    host, opencv = diagnosis.host, diagnosis.opencv
    readers = ", ".join(name for name, available in diagnosis.video.items() if available)
    rows = {
        "machine": diagnosis.board.full_name(),
        "processor": host.short(),
        "features": ", ".join(host.features) or "none that speed up inference",
        "accelerators": ", ".join(gpu.name for gpu in host.gpus) or "none",
        "memory": f"{host.memory_mib / 1024:.1f} GiB",
        "system": f"{host.system}, kernel {host.kernel}, Python {host.python}",
        "OpenCV": opencv.version or f"none: {opencv.problem}",
        "video": readers or "no reader",
    }
    table = Table(title="this machine", title_justify="left", show_header=False, box=None)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        if value:
            table.add_row(name, strip_control(value))
    return table


def _engines(diagnosis: "Diagnosis") -> "Table":
    from rich.text import Text

    table = plain_table("engine", "version", "precisions", title="\nengines")
    for engine in diagnosis.engines:
        version = Text(engine.version) if engine.version else Text(engine.problem, style="yellow")
        table.add_row(engine.name, version, ", ".join(engine.precisions))
    return table


def _cameras(diagnosis: "Diagnosis") -> "Table | str":
    if not diagnosis.cameras:
        return "\nno camera on this machine (/dev/video*)"
    table = plain_table("camera", "name", "usable", title="\ncameras")
    for camera in diagnosis.cameras:
        table.add_row(camera.device, strip_control(camera.name), "yes" if camera.usable else "no")
    return table


def _advice(advice: "Advice") -> "Text":
    from rich.text import Text

    style = "bold white on red" if advice.severe else "bold"
    fix = "".join(f"\n  {line}" for line in strip_control(advice.fix).splitlines())
    why = " ".join(strip_control(advice.why).split())
    return Text.assemble("\n", (advice.what, style), f": {why}", (fix, "cyan"))
