"""``edgecnn bench`` as it is typed."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from edgecnn.cli import main

MakeBundle = Callable[..., Path]
QUICK = ["--seconds", "0.1", "--rounds", "2", "--warmup", "0", "--starts", "0", "--threads", "1",
         "--backends", "onnxruntime", "--precisions", "f32"]  # fmt: skip


@pytest.fixture
def measured(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A report of a small bundle."""
    out = tmp_path / "base.json"
    rounds = ["--rounds", "8"]
    assert main(["bench", str(tiny_bundle), *QUICK, *rounds, "--out", str(out)]) == 0
    return out


def test_a_table_by_default(tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(tiny_bundle), *QUICK]) == 0
    said = capsys.readouterr().out
    assert "engine only" in said
    assert "frame to result" in said
    assert "onnxruntime" in said
    assert "not measured" not in said  # only what was asked for can be missing


def test_json_is_the_report(tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(tiny_bundle), *QUICK, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["kind"] == "bench"
    assert {row["scope"] for row in report["rows"]} == {"engine", "frame"}


def test_two_bundles_are_compared_at_once(
    tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two = [str(tiny_bundle), str(tiny_bundle)]
    assert main(["bench", *two, *QUICK, "--scopes", "engine"]) == 0
    assert "verdict" in capsys.readouterr().out


def test_compare_says_same_and_ends_with_zero(
    measured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "compare", str(measured), str(measured), "--fail-if", "1%"]) == 0
    assert "+0.0 %" in capsys.readouterr().out


def test_compare_fails_on_a_planted_slowdown(
    measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = json.loads(measured.read_text())
    for number, row in enumerate(report["rows"]):
        for slot in row["slots"]:
            slot["ratio"] = (1.0 + number) * (1.0 + slot["round"] / 500)
    base = tmp_path / "even.json"
    base.write_text(json.dumps(report))
    for row in report["rows"]:
        for slot in row["slots"]:
            slot["ratio"] *= 1.2
    slow = tmp_path / "slow.json"
    slow.write_text(json.dumps(report))
    words = ["bench", "compare", str(base), str(slow)]
    assert main(words) == 0
    assert main([*words, "--fail-if", "50%"]) == 0
    assert main([*words, "--fail-if", "10%"]) == 3
    assert main([*words, "--fail-if", "0.1", "--json"]) == 3
    assert capsys.readouterr().err.count("slower by") == 2 * len(report["rows"])


def test_one_report_compares_its_two_bundles(
    tiny_bundle: Path, measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run.json"
    words = [str(tiny_bundle)] * 2
    assert main(["bench", *words, *QUICK, "--scopes", "engine", "--out", str(out)]) == 0
    assert main(["bench", "compare", str(out)]) == 0
    capsys.readouterr()
    assert main(["bench", "compare", str(measured)]) == 2
    assert "BASE.edge NEW.edge" in capsys.readouterr().err


def test_a_file_that_cannot_be_written_does_not_cost_the_figures(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "now.json"
    assert main(["bench", str(tiny_bundle), *QUICK, "--out", str(out)]) == 1
    said = capsys.readouterr()
    assert "engine only" in said.out
    assert "cannot write" in said.err


def test_report_writes_a_page_and_markdown(
    measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, text = tmp_path / "out" / "report.html", tmp_path / "report.md"
    assert main(["bench", "report", str(measured), "--out", str(page)]) == 0
    assert page.read_text().startswith("<!doctype html>")
    assert main(["bench", "report", str(measured), "--out", str(text)]) == 0
    capsys.readouterr()
    assert main(["bench", "report", str(measured), "--markdown"]) == 0
    assert capsys.readouterr().out == text.read_text()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["absent.edge"], 2, "absent.edge"),
        (["compare"], 2, "BASE.json NEW.json"),
        (["compare", "absent.json", "b.json"], 2, "absent.json"),
        (["report"], 2, "FILE.json"),
        (["compare", "a.json", "b.json", "--threads", "1"], 2, "--threads means nothing"),
        (["report", "a.json", "--fail-if", "1%"], 2, "--fail-if means nothing"),
        (["x.edge", "--out", "figures.txt"], 2, r"name it *.json"),
        (["x.edge", "--seconds", "0"], 2, "--seconds"),
        (["x.edge", "--scopes", "motor"], 2, "engine, frame, stream"),
    ],
)
def test_what_cannot_be_meant_ends_with_its_code(
    words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *words]) == code
    assert said in capsys.readouterr().err


def test_no_such_backend_names_the_nearest(
    tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", str(tiny_bundle), "--backends", "onxruntime"]) == 2
    assert "did you mean 'onnxruntime'" in capsys.readouterr().err


def test_a_failed_self_test_ends_with_three(
    wrong_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", str(wrong_bundle), *QUICK]) == 3
    assert "--unverified" in capsys.readouterr().err
    assert main(["bench", str(wrong_bundle), *QUICK, "--unverified"]) == 0
    said = capsys.readouterr().out
    assert "FAILED\n" in said.replace(" ", "")
    assert "FAILED its self-test" in " ".join(said.split())


def test_a_share_that_is_none_is_a_usage_error(measured: Path) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["bench", "compare", str(measured), str(measured), "--fail-if", "much"])
    assert stopped.value.code == 2


def test_ctrl_c_half_way_keeps_what_was_measured(
    spawn: Callable[..., "subprocess.Popen[str]"], tiny_bundle: Path, tmp_path: Path
) -> None:
    """A real process and a real signal, sent once the first round is done."""
    out = tmp_path / "partial.json"
    words = [str(tiny_bundle), *QUICK, "--seconds", "60", "--rounds", "100", "--out", str(out)]
    environment = {**os.environ, "COLUMNS": "100", "FORCE_COLOR": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = spawn("-m", "edgecnn", "bench", *words, env=environment, **pipes)
    assert process.stderr is not None
    assert any(re.search(r"measuring.* [1-9]\d* %", line) for line in process.stderr)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate()
    assert process.returncode == 130
    assert "partial" in said
    report = json.loads(out.read_text())
    assert report["partial"]
    assert report["rows"]
    assert all(row["latency"]["n"] > 0 for row in report["rows"])
    assert any("Interrupted" in remark for remark in report["remarks"])


def test_help_shows_each_way_to_use_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["bench", "--help"])
    assert stopped.value.code == 0
    said = capsys.readouterr().out
    assert "edgecnn bench compare BASE.json NEW.json" in said
    assert "edgecnn bench report" in said
    assert "--fail-if 10%" in said
    assert "%%" not in said
