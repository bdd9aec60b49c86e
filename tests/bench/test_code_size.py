"""The script that counts lines of code: what a line of code is, and which files it looks at."""

import json
import subprocess
import sys
from pathlib import Path

SOURCE = '''"""A module.

Two lines of it."""
import os  # 1

# a comment
SIZE = 3
"""About SIZE."""


def f(text: str = """a

b""") -> str:
    """A docstring."""
    return os.path.join(
        text,
    )
'''


def test_counts_code_without_blanks_comments_and_docstrings(root: Path, tmp_path: Path) -> None:
    package = tmp_path / "runtime" / "edgecnn_runtime"
    package.mkdir(parents=True)
    (package / "module.py").write_text(SOURCE)
    (package / "page.html").write_text("<p>\n\n</p>\n")
    sizes = count(root, "--root", str(tmp_path))
    assert sizes["runtime/edgecnn_runtime"] == {"files": 1, "code": 7, "templates": 2}
    assert sizes["all"] == sizes["runtime/edgecnn_runtime"]


def test_counts_a_git_revision_as_the_files_that_it_holds(root: Path, tmp_path: Path) -> None:
    for package in ("edgecnn", "export/edgecnn_export", "runtime/edgecnn_runtime",
                    "bench/edgecnn_bench"):  # fmt: skip
        (tmp_path / package).mkdir(parents=True)
        (tmp_path / package / "module.py").write_text(SOURCE)
    git = ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@example.invalid"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "one"]):
        subprocess.run([*git, *command], check=True)
    (tmp_path / "edgecnn" / "module.py").write_text("x = 1\n")
    assert count(root, "--root", str(tmp_path), "--rev", "HEAD")["edgecnn"]["code"] == 7
    assert count(root, "--root", str(tmp_path))["edgecnn"]["code"] == 1


def count(root: Path, *options: str) -> dict[str, dict[str, int]]:
    command = [sys.executable, str(root / "bench/experiments/code_size.py"), "--json", *options]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    sizes: dict[str, dict[str, int]] = json.loads(out)
    return sizes
