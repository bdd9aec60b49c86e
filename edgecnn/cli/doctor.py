"""``edgecnn doctor``: what this machine offers, and what is missing."""

import argparse

from edgecnn.cli.tables import plain_table

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
    from rich.table import Table

    console = Console(emoji=False)
    host = diagnosis.host
    machine = Table(title="this machine", title_justify="left", show_header=False, box=None)
    machine.add_row("processor", host.short())
    machine.add_row("features", ", ".join(host.features) or "none that speed up inference")
    machine.add_row("accelerators", ", ".join(gpu.name for gpu in host.gpus) or "none")
    machine.add_row("memory", f"{host.memory_mib / 1024:.1f} GiB")
    machine.add_row("system", f"{host.system}, kernel {host.kernel}, Python {host.python}")
    readers = ", ".join(name for name, available in diagnosis.video.items() if available)
    machine.add_row("video", readers or "no reader: OpenCV was built without any")
    console.print(machine)

    engines = plain_table("engine", "version", "precisions", title="\nengines")
    for engine in diagnosis.engines:
        version = engine.version or f"[yellow]{engine.problem}[/]"
        engines.add_row(engine.name, version, ", ".join(engine.precisions))
    console.print(engines)

    if diagnosis.cameras:
        cameras = plain_table("camera", "name", "usable", title="\ncameras")
        for camera in diagnosis.cameras:
            cameras.add_row(camera.device, camera.name, "yes" if camera.usable else "no")
        console.print(cameras)
    else:
        console.print("\nno camera on this machine (/dev/video*)")

    for advice in diagnosis.advice:
        console.print(f"\n[bold]{advice.what}[/]: {advice.why}\n  [cyan]{advice.fix}[/]")
    return 0
