"""Result files: written whole, read back, refused when they are something else."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn_bench.compare import compare
from edgecnn_bench.markdown import markdown
from edgecnn_bench.report import html_page
from edgecnn_bench.results import read_json, read_result, write_result
from edgecnn_bench.schema import SCHEMA_VERSION, BenchReport, read_report, write_report
from edgecnn_runtime.errors import EdgecnnError, UsageError


def test_a_result_carries_its_data_host_and_time(tmp_path: Path) -> None:
    data = {"rows": [{"ratio": np.float32(0.5), "times": np.arange(3)}]}
    path = write_result("sizes", data, tmp_path)
    assert path == tmp_path / "sizes.json"
    result = read_result("sizes", tmp_path)
    assert result.data == {"rows": [{"ratio": 0.5, "times": [0, 1, 2]}]}
    assert result.host.cpu
    assert result.created.endswith("Z")


def test_a_failed_write_leaves_the_old_file_and_no_scratch(tmp_path: Path) -> None:
    write_result("sizes", 1, tmp_path)
    with pytest.raises(TypeError):
        write_result("sizes", object(), tmp_path)
    assert read_result("sizes", tmp_path).data == 1
    assert [path.name for path in tmp_path.iterdir()] == ["sizes.json"]


def test_where_nothing_can_be_written_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EdgecnnError, match="cannot write"):
        write_result("sizes", 1, tmp_path / "file")


def test_a_report_survives_the_file(tmp_path: Path, make_report) -> None:
    report = make_report(1)
    path = tmp_path / "report.json"
    write_report(path, report)
    assert read_report(path) == report


def test_a_report_written_before_the_renames_is_still_read_and_shown() -> None:
    """Written at revision 2a0a280; whoever changes the schema raises its version."""
    report = read_report(Path(__file__).with_name("report_schema_1.json"))
    assert (report.schema, report.kind, len(report.rows)) == (1, "bench", 4)
    row = report.rows[0]
    assert row.standing is not None
    assert row.standing.verdict == "fastest"
    assert row.key in html_page([report])
    assert f"| {row.artifact} | {row.backend} " in markdown([report])
    assert [change.ratio.value for change in compare(report, report).changes] == [1.0] * 4


@pytest.mark.parametrize("schema", [0, SCHEMA_VERSION + 1, 99])
def test_another_schema_version_is_refused_by_name(tmp_path: Path, schema: int) -> None:
    path = tmp_path / "report.json"
    path.write_text(f'{{"schema": {schema}, "later": "key"}}')
    with pytest.raises(UsageError, match=rf"schema {schema}\b.*reads {SCHEMA_VERSION}"):
        read_report(path)


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"schema": "one"}', '{"schema": 1}', '{"schema": 1, "x": 2}', "{" * 5000],
)
def test_what_is_no_report_is_refused_by_file(tmp_path: Path, content: str) -> None:
    path = tmp_path / "odd.json"
    path.write_text(content)
    with pytest.raises(UsageError, match=r"odd\.json"):
        read_report(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone.json: No such file"):
        read_report(tmp_path / "gone.json")


@given(content=st.binary(max_size=200))
def test_no_bytes_get_past_the_reader(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "any.json"
    path.write_bytes(content)
    with pytest.raises(UsageError):
        read_json(path, BenchReport, SCHEMA_VERSION)
