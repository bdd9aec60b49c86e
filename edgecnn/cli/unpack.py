"""``edgecnn unpack``: checks a packed bundle and makes a folder of it."""

import argparse
import json
from pathlib import Path

EXAMPLE = """\
  edgecnn unpack plate-reader.edge.tar --into /var/lib/edgecnn"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``edgecnn unpack``."""
    parser.add_argument("tar", metavar="TAR", help="a file that `edgecnn pack` wrote")
    parser.add_argument("--into", metavar="DIR", default=".", help="target folder (default: here)")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing bundle")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Unpack and check; a bundle that fails a check leaves nothing behind."""
    from edgecnn_runtime.bundle.archive import unpack

    bundle = unpack(Path(args.tar), Path(args.into), overwrite=args.overwrite)
    if args.json:
        print(json.dumps({"bundle": str(bundle.path), "digest": bundle.digest}))
    else:
        print(f"{bundle.path}: digest {bundle.digest}")
        print(f"next: edgecnn verify {bundle.path}")
    return 0
