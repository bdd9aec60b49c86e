"""``edgecnn pack``: makes one file of a bundle, to copy it."""

import argparse
import json
from pathlib import Path

EXAMPLE = """\
  edgecnn pack plate-reader.edge && scp plate-reader.edge.tar device:"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``edgecnn pack``."""
    parser.add_argument("bundle", metavar="BUNDLE", help="a folder that `edgecnn export` wrote")
    parser.add_argument("--out", metavar="FILE", help="the tar to write (default: BUNDLE.tar here)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Check the bundle and pack it."""
    from edgecnn_runtime.bundle.archive import pack
    from edgecnn_runtime.bundle.bundle import open_bundle

    bundle = open_bundle(args.bundle)
    out = pack(bundle, Path(args.out or f"{bundle.path.resolve().name}.tar"))
    if args.json:
        print(json.dumps({"packed": str(out), "digest": bundle.digest}))
    else:
        print(f"{out}: {out.stat().st_size:,} bytes, digest {bundle.digest}")
        print(f"next, on the device: edgecnn unpack {out.name}")
    return 0
