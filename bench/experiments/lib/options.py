"""What every figure script of a table understands on its command line."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from lib.fetch import CACHE


class ExperimentOptions(argparse.Namespace):
    """names: rows to measure. quick: a short try. cache: where downloads are kept. whole: whether
    this is the figure itself, which is written; a part or a try is only printed."""

    names: list[str]
    quick: bool
    cache: Path

    def whole(self, names: Sequence[str]) -> bool:
        """Whether every row is measured in full."""
        return not self.quick and set(names) <= set(self.names)


def options(doc: str | None, names: Sequence[str]) -> ExperimentOptions:
    """Parse the command line. names: of all rows."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    listed = ", ".join(names)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these rows of {listed}")
    parser.add_argument("--quick", action="store_true", help="a short try; nothing is written")
    parser.add_argument("--cache", type=Path, default=CACHE, metavar="DIR",
                        help=f"folder for downloads (default: {CACHE})")  # fmt: skip
    found = parser.parse_args(namespace=ExperimentOptions())
    if unknown := sorted(set(found.names) - set(names)):
        parser.error(f"no such row: {', '.join(unknown)}; there are {listed}")
    found.names = found.names or list(names)
    return found
