"""``edgecnn cameras``: which cameras there are, and a site.yaml that serves them."""

import argparse
import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from edgecnn.cli.tables import plain_table
from edgecnn.cli.terminal_text import strip_control
from edgecnn_runtime.config import read_text
from edgecnn_runtime.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from edgecnn.cameras import CameraDevice, NetworkCamera

LONGEST = 300.0
"""Seconds to wait for cameras, at most."""
EXAMPLE = """\
  edgecnn cameras                                    what is attached to this machine
  edgecnn cameras --discover --user admin            ONVIF cameras on this network, too
  edgecnn cameras --write site.yaml --pipeline faces.edge && edgecnn serve site.yaml"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``edgecnn cameras``."""
    about = "ask the local network for ONVIF cameras, by multicast"
    parser.add_argument("--discover", action="store_true", help=about)
    about = "this machine's own IPv4 address on the network to ask (default: the usual route)"
    parser.add_argument("--interface", metavar="ADDRESS", default="", help=about)
    about = "user of the ONVIF cameras; the password is asked for"
    parser.add_argument("--user", metavar="NAME", default="", help=about)
    about = "a file whose first line is the password, instead of asking for it"
    parser.add_argument("--password-file", metavar="FILE", type=Path, help=about)
    about = "how long to wait for cameras on the network (default: 3)"
    parser.add_argument("--seconds", metavar="SECONDS", type=float, default=3.0, help=about)
    about = "write a site.yaml with all cameras that can be opened; what exists is not replaced"
    parser.add_argument("--write", metavar="FILE", type=Path, help=about)
    about = "the pipeline or bundle of all cameras in it"
    parser.add_argument("--pipeline", metavar="FILE", default="", help=about)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(args: argparse.Namespace) -> int:
    """Print the cameras; 0 also where there are none."""
    from edgecnn.cameras import attached_cameras

    _check(args)
    password = _password(args)
    attached, network = attached_cameras(), _discover(args, password)
    if args.json:
        import msgspec

        found = {"attached": attached, "network": network}
        print(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    else:
        _print(attached, network, asked=args.discover)
    if args.write:
        _write(args, attached, network, password)
        if not args.json:
            print(f"wrote {strip_control(str(args.write))}: edgecnn serve {args.write}")
    return 0


def _check(args: argparse.Namespace) -> None:
    """Refuse what cannot be meant, before anybody is asked."""
    from edgecnn_runtime.recipe import read_recipe

    if args.write and not args.pipeline:
        raise UsageError(
            "--write needs --pipeline: a bundle (faces.edge) or a pipeline's YAML file"
        )
    if args.write:
        _check_new(args.write)
        read_recipe(args.pipeline)
        if args.user:
            _check_new(_credentials(args.write))
    if not 0 < args.seconds <= LONGEST:
        raise UsageError(f"--seconds {args.seconds:g}: above 0, and {LONGEST:g} at most")
    if ":" in args.user:
        raise UsageError(f"--user {args.user}: no user of a camera has a colon in its name")
    if (args.user or args.password_file or args.interface) and not args.discover:
        raise UsageError("--user, --password-file and --interface are for --discover")


def _check_new(path: Path) -> None:
    if os.path.lexists(path):
        raise UsageError(f"{path} exists: it is not replaced, name another file")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: there is not a folder {path.parent}: make it first")


def _credentials(site: Path) -> Path:
    """The file beside a site.yaml that holds user and password."""
    return site.with_suffix(".credentials")


def _password(args: argparse.Namespace) -> str:
    if args.password_file:
        try:
            return read_text(args.password_file).partition("\n")[0].removesuffix("\r")
        except ConfigError as error:
            raise UsageError(f"--password-file {error}") from None
    if not args.user:
        return ""
    import getpass

    return getpass.getpass(f"password of {args.user}: ")


def _discover(args: argparse.Namespace, password: str) -> "list[NetworkCamera]":
    if not args.discover:
        return []
    from edgecnn.onvif import discover

    return discover(args.seconds, args.user, password, interface=args.interface)


def _print(
    attached: "tuple[CameraDevice, ...]", network: "list[NetworkCamera]", *, asked: bool
) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(emoji=False, highlight=False)
    table = plain_table("source", "name", "note")
    for device in attached:
        note = "" if device.usable else "this user may not open it: sudo usermod -aG video $USER"
        table.add_row(*map(Text, map(strip_control, (device.source, device.name, note))))
    for camera in network:
        sources = "\n".join(camera.streams) or camera.host
        table.add_row(*map(Text, (sources, camera.name, camera.problem)))
    if table.row_count:
        console.print(table)
    else:
        places = "/dev/video* and the network" if asked else "/dev/video*; --discover asks for more"
        console.print(f"no camera found ({places})", markup=False)


def _write(
    args: argparse.Namespace,
    attached: "tuple[CameraDevice, ...]",
    network: "list[NetworkCamera]",
    password: str,
) -> None:
    """The site.yaml, and the file with user and password beside it, which only its owner reads."""
    import yaml

    from edgecnn.cameras import site_entries
    from edgecnn_runtime.daemon.site import parse_site

    path: Path = args.write
    secret = _credentials(path)
    pipeline = os.path.relpath(args.pipeline, path.parent)
    entries = site_entries(attached, network, pipeline, secret.name if args.user else "")
    if not entries:
        raise UsageError(f"no camera that can be opened was found: {path} was not written")
    text = yaml.safe_dump({"version": 1, "cameras": entries}, sort_keys=False, allow_unicode=True)
    with contextlib.ExitStack() as undo:
        if args.user:
            opened = os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            undo.callback(secret.unlink)
            with os.fdopen(opened, "w") as file:
                file.write(f"{args.user}:{password}\n")
        parse_site(text, path)  # what is written is what serves; it reads the credentials, too
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
        undo.pop_all()
