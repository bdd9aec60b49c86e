"""Choosing by measuring: who stays, who is chosen, what is kept; and the command."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from edgecnn.cli import main
from edgecnn_bench.autotune import Selection, SuccessiveHalving, choose_winner, select
from edgecnn_bench.config import BenchConfig
from edgecnn_runtime import load
from edgecnn_runtime.backends.candidate import Candidate
from edgecnn_runtime.bundle import manifest as m
from edgecnn_runtime.bundle.bundle import open_bundle
from edgecnn_runtime.errors import SelfTestError, UsageError
from edgecnn_runtime.selection.record import read_selection

QUICK = BenchConfig(seconds=0.05, warmup=0.0, precisions=("f32",))


def race(
    seed: int, times: dict[str, float], rounds: int = 8, noise: float = 0.15
) -> SuccessiveHalving:
    """Planted medians: the machine moves all of a round alike, and each a little by itself."""
    rng = np.random.default_rng(seed)
    machine = np.exp(rng.normal(0, noise, rounds))
    halving = SuccessiveHalving([], BenchConfig())
    for key, milliseconds in times.items():
        own = np.exp(rng.normal(0, 0.01, rounds))
        halving.p50[key] = list(milliseconds * machine * own)
        halving.relative[key] = list(milliseconds * own)
    return halving


@pytest.mark.parametrize("seed", range(10))
def test_the_slow_ones_drop_out_and_the_close_ones_stay(seed: int) -> None:
    halving = race(seed, {"a": 10.0, "b": 10.2, "c": 10.3, "d": 10.4, "e": 14.0, "f": 30.0})
    remaining = halving.remaining(list("abcdef"))
    assert remaining[0] in "abcd"
    assert "a" in remaining
    assert not {"e", "f"} & set(remaining)


@pytest.mark.parametrize("seed", range(10))
def test_of_many_at_most_half_stay_and_those_who_are_close(seed: int) -> None:
    times = {str(number): 10.0 * 1.3**number for number in range(8)}
    assert len(race(seed, times).remaining(list(times))) <= 4
    same = dict.fromkeys(times, 10.0)
    assert len(race(seed, same).remaining(list(same))) >= 4


def candidate(
    precision: Any, engine: str = "f32", threads: int = 1, target: Any = "any"
) -> Candidate:
    entry = m.Artifact(
        file=f"model.{precision}.onnx", precision=precision, target=target, sha256="0" * 64, bytes=0
    )  # fmt: skip
    return Candidate(entry, "openvino", engine, threads, "")


def test_of_equally_fast_ones_the_most_exact_is_chosen() -> None:
    candidates = {
        "int8": candidate("int8"),
        "half": candidate("fp16", target="trt"),
        "bf16": candidate("fp32", "bf16"),
        "wide": candidate("fp32", threads=2),
        "float": candidate("fp32"),
    }
    assert choose_winner(candidates, race(0, dict.fromkeys(candidates, 5.0), 60)) == "float"
    faster = {"int8": 4.5, "half": 4.5, "bf16": 5.0, "wide": 5.0, "float": 5.0}
    assert choose_winner(candidates, race(0, faster, 60)) == "half"


@pytest.mark.parametrize("seed", range(5))
def test_seven_bits_are_no_choice_where_eight_are_as_fast(seed: int) -> None:
    candidates = {
        "seven": candidate("int8", target="cpu-rr"),
        "eight": candidate("int8", target="cpu"),
    }
    assert choose_winner(candidates, race(seed, {"seven": 4.99, "eight": 5.0}, 60)) == "eight"


@pytest.mark.parametrize("seed", range(5))
def test_eight_bits_are_no_choice_where_they_saturate(seed: int) -> None:
    candidates = {
        "seven": candidate("int8", target="cpu-rr"),
        "eight": candidate("int8", target="cpu"),
    }
    halving = race(seed, {"seven": 5.0, "eight": 4.99}, 60)
    assert choose_winner(candidates, halving, saturating=True) == "seven"


@pytest.mark.parametrize("seed", range(5))
def test_who_left_early_is_not_chosen_and_still_has_a_ratio(seed: int) -> None:
    halving = race(seed, {"a": 10.0, "b": 20.0}, 30)
    halving.p50["b"] = halving.p50["b"][:6]
    candidates = {"a": candidate("fp32"), "b": candidate("fp32", threads=2)}
    assert choose_winner(candidates, halving) == "a"
    assert halving.ratio("b", "a").value == pytest.approx(2.0, rel=0.05)


# --- on real engines --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def path(make_bundle: Callable[..., Path]) -> Path:
    return make_bundle("tiny")


def test_the_choice_is_measured_kept_and_used(path: Path, tmp_path: Path) -> None:
    phases: list[str] = []
    selection = select(path, QUICK, tmp_path, progress=lambda phase, *_: phases.append(phase))
    assert selection.stored
    assert selection.record == read_selection(open_bundle(path), tmp_path, 1)
    first = selection.record.standings[0]
    assert first.ratio == 1.0
    assert all(one.rounds >= 6 for one in selection.record.standings)
    assert {one.threads for one in selection.record.standings} >= {1}
    assert "opening" in phases
    with load(path, cache_dir=tmp_path) as model:
        choice = model.choice
    assert (choice.candidate.artifact.file, choice.candidate.backend, choice.candidate.threads) == (
        first.artifact, first.backend, first.threads,
    )  # fmt: skip
    assert choice.candidate.reason.startswith("measured here on 20")


def test_a_precision_that_export_did_not_verify_is_left_out(path: Path, tmp_path: Path) -> None:
    selection = select(path, msgspec.structs.replace(QUICK, precisions=None), tmp_path)
    assert {one.precision for one in selection.record.standings} == {"f32"}
    for skipped in selection.skipped:
        assert "export did not verify" in skipped.why


def test_batches_are_chosen_for_by_themselves(path: Path, tmp_path: Path) -> None:
    select(path, msgspec.structs.replace(QUICK, batch=(2,), threads=(1,)), tmp_path)
    opened = open_bundle(path)
    assert read_selection(opened, tmp_path, 1) is None
    assert read_selection(opened, tmp_path, 2) is not None
    with pytest.raises(UsageError, match="one --batch"):
        select(path, msgspec.structs.replace(QUICK, batch=(1, 2)), tmp_path)


def test_what_fails_its_self_test_is_never_chosen(
    make_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    wrong = make_bundle("wrong", wrong=True)
    with pytest.raises(SelfTestError, match=r"nothing to choose from[\s\S]*does not reproduce"):
        select(wrong, msgspec.structs.replace(QUICK, unverified=True), tmp_path)
    assert not (tmp_path / "choice").exists()


def test_interrupted_nothing_is_kept(path: Path, tmp_path: Path) -> None:
    def stop(phase: str, done: float, _total: float) -> None:
        if "candidate" in phase and done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        select(path, QUICK, tmp_path, progress=stop)
    assert not (tmp_path / "choice").exists()


# --- as it is typed ---------------------------------------------------------------------------

WORDS = ["--select", "--seconds", "0.05", "--warmup", "0", "--threads", "1", "--precisions", "f32"]


def test_a_table_and_then_run_uses_it(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "choice.json"
    words = ["--cache-dir", str(tmp_path / "cache"), "--out", str(out)]
    assert main(["bench", str(path), *WORDS, *words]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "→ fp32 on" in output
    assert "measured here on" in output
    selection = msgspec.json.decode(out.read_bytes(), type=Selection)
    assert selection.command
    assert selection.stored


def test_json(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(path), *WORDS, "--cache-dir", str(tmp_path), "--json"]) == 0
    selection = json.loads(capsys.readouterr().out)
    assert selection["kind"] == "selection"
    assert selection["measured"]["standings"][0]["artifact"] == "model.fp32.onnx"


def test_a_folder_that_cannot_be_written_is_an_error(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    assert main(["bench", str(path), *WORDS, "--cache-dir", str(blocked)]) == 1
    assert "not stored" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["--select", "--rounds", "9"],
            "--rounds means nothing to `edgecnn bench BUNDLE --select`",
        ),
        (["--select", "--batch", "1,2"], "one --batch"),
        (["other.edge", "--select"], "--select takes one bundle"),
        (["--cache-dir", "x"], "--cache-dir means nothing to `edgecnn bench BUNDLE`"),
    ],
)
def test_what_cannot_be_meant(
    path: Path, words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", str(path), *words]) == 2
    assert says in capsys.readouterr().err
