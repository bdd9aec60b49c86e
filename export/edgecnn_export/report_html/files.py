"""report.json and report.html: the same facts, for a script and for a person."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from edgecnn_export.report import ExportReport
from edgecnn_export.report_html import render
from edgecnn_runtime.bundle.bundle import sha256_file
from edgecnn_runtime.types import Pixels, Result

FILES = ("report.json", "report.html")


def write_report(
    folder: Path, report: ExportReport, pixels: Pixels, results: Sequence[Result]
) -> dict[str, str]:
    """Write both files into a bundle.

    Args:
        folder: Of the bundle.
        report: What they contain.
        pixels: The verification images, uint8[N,H,W,3] BGR.
        results: The reference's results for them, in their pixels.

    Returns:
        The sha256 of each file, by name.
    """
    raw = msgspec.json.format(msgspec.json.encode(report), indent=2)
    page = render(report, pixels, results)
    for name, content in zip(FILES, (raw + b"\n", page.encode()), strict=True):
        (folder / name).write_bytes(content)
    return {name: sha256_file(folder / name) for name in FILES}
