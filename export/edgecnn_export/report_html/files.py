"""report.json and report.html: the same facts, for a script and for a person."""

from pathlib import Path

import msgspec

from edgecnn_export.report import ReportInputs, make_report
from edgecnn_export.report_html import render
from edgecnn_runtime.bundle.bundle import sha256_file

FILES = ("report.json", "report.html")


def write_report(folder: Path, facts: ReportInputs) -> dict[str, str]:
    """Write both files into a bundle; their sha256 by name."""
    report = make_report(facts)
    raw = msgspec.json.format(msgspec.json.encode(report), indent=2)
    page = render(report, facts.pictures.pixels, facts.truth.results)
    for name, content in zip(FILES, (raw + b"\n", page.encode()), strict=True):
        (folder / name).write_bytes(content)
    return {name: sha256_file(folder / name) for name in FILES}
