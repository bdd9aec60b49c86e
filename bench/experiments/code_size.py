"""How much code is there? Lines without blanks, comments and docstrings, per import package.

A line counts once if it holds a token of a statement; a string that stands alone is a docstring.
Templates (HTML, CSS, SVG, JavaScript) are counted apart, in lines that are not blank, so that code
does not disappear by moving into them.

`python bench/experiments/code_size.py --rev 2a0a280` counts a git revision, `--root DIR` another
checkout, and both may be combined.
"""

import argparse
import ast
import io
import json
import subprocess
import sys
import tarfile
import tokenize
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

PACKAGES = (
    "edgecnn",
    "export/edgecnn_export",
    "runtime/edgecnn_runtime",
    "bench/edgecnn_bench",
)
TEMPLATES = (".html", ".css", ".svg", ".js", ".j2")
NO_CODE = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
    tokenize.ENCODING, tokenize.ENDMARKER,
}  # fmt: skip


def main() -> int:
    """Count, then print a table or JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rev", help="a git revision (default: the files as they are)")
    parser.add_argument(
        "--root", type=Path, default=Path(__file__).parents[2], help="the checkout (default: this)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    sizes = count(options.root, options.rev)
    if options.json:
        print(json.dumps(sizes, indent=2))
        return 0
    print(f"{'package':<26}{'files':>7}{'code':>8}{'templates':>11}")
    for package, size in sizes.items():
        print(f"{package:<26}{size['files']:>7}{size['code']:>8}{size['templates']:>11}")
    return 0


def count(root: Path, revision: str | None = None) -> dict[str, dict[str, int]]:
    """Python files, their lines of code and the templates' lines, per package and in all."""
    sizes = {name: {"files": 0, "code": 0, "templates": 0} for name in (*PACKAGES, "all")}
    for name, text in read_revision(root, revision) if revision else read_checkout(root):
        package = next(package for package in PACKAGES if name.startswith(f"{package}/"))
        for size in (sizes[package], sizes["all"]):
            if name.endswith(".py"):
                size["files"] += 1
                size["code"] += code_lines(text)
            elif name.endswith(TEMPLATES):
                size["templates"] += sum(bool(line.strip()) for line in text.splitlines())
    return sizes


def read_checkout(root: Path) -> Iterator[tuple[str, str]]:
    """Name from the root and text of each source file as it is on disk."""
    for package in PACKAGES:
        for file in sorted((root / package).rglob("*")):
            if file.suffix in {".py", *TEMPLATES}:
                yield file.relative_to(root).as_posix(), file.read_text("utf-8")


def read_revision(root: Path, revision: str) -> Iterator[tuple[str, str]]:
    """Name from the root and text of each source file as committed in ``revision``."""
    command = ["git", "-C", str(root), "archive", revision, *PACKAGES]
    archive = subprocess.run(command, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as members:
        for member in members:
            content = members.extractfile(member)
            if content and PurePosixPath(member.name).suffix in {".py", *TEMPLATES}:
                yield member.name, content.read().decode("utf-8")


def code_lines(source: str) -> int:
    """Lines of a Python source that hold code."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if is_text and isinstance(node.value.value, str):
            lines.difference_update(range(node.lineno, node.end_lineno + 1))
    text = source.splitlines()
    return sum(bool(text[number - 1].strip()) for number in lines)


if __name__ == "__main__":
    sys.exit(main())
