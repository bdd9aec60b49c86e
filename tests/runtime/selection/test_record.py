"""The choice measured here: used, explained, overridden; damaged, foreign or gone: not used."""

import json
import logging

import msgspec
import pytest

from edgecnn_runtime import load
from edgecnn_runtime.bundle import manifest as m
from edgecnn_runtime.bundle.bundle import open_bundle
from edgecnn_runtime.selection.candidates import rank_candidates
from edgecnn_runtime.selection.record import (
    KIND,
    CandidateTiming,
    SelectionRecord,
    read_selection,
    write_selection,
)

FILES = ("model.fp32.onnx", "model.int8-cpu.onnx")


@pytest.fixture
def path(build, pictures, tmp_path):
    """Two artifacts; the one that the rule of this processor does not put first is the same."""
    template = build.manifest(
        m.Classify(output="scores"),
        {"scores": (None, 4)},
        size=build.input(32, 24),
        task="classify",
        labels=tuple("abcd"),
    )
    models = dict.fromkeys(FILES, build.classifier())
    return build.bundle(tmp_path / "a.edge", models, template, pictures)


def standing(ratio=1.0, **changes):
    values = {
        "artifact": "model.fp32.onnx", "backend": "onnxruntime", "precision": "f32", "threads": 1,
        "milliseconds": 4.0 * ratio, "relative": 2.0 * ratio, "ratio": ratio, "low": ratio - 0.01,
        "high": ratio + 0.01, "rounds": 20,
    }  # fmt: skip
    return CandidateTiming(**(values | changes))


def measured(*standings, **changes):
    values = {"created": "2026-11-22T08:00:00Z", "batch": 1, "standings": standings, "plain": 0}
    return SelectionRecord(**(values | changes))


SLOW = standing(2.1, threads=1)
FAST = standing(1.0, artifact="model.int8-cpu.onnx", threads=1)
BOTH = measured(FAST, SLOW, plain=1)


def keep(path, cache, choice):
    assert write_selection(open_bundle(path), cache, choice)


def kept_file(cache):
    (found,) = (cache / KIND).iterdir()
    return found


def chosen(path, cache, **wishes):
    with load(path, cache_dir=cache, **wishes) as model:
        return model.choice


def test_what_was_measured_is_used_and_explained(path, tmp_path):
    by_rule = chosen(path, tmp_path / "none").candidate
    keep(path, tmp_path, BOTH)
    choice = chosen(path, tmp_path)
    assert choice.candidate.artifact.file == "model.int8-cpu.onnx"
    assert choice.candidate.threads == 1
    assert choice.candidate.reason == (
        "measured here on 2026-11-22: 2.1 × faster than float on onnxruntime, "
        "2.1 × faster than the next, fp32 on onnxruntime/f32, 1 thread"
    )
    assert choice.test is not None
    assert choice.test.passed
    assert "measured" not in by_rule.reason


def test_an_argument_goes_before_what_was_measured(path, tmp_path):
    keep(path, tmp_path, BOTH)
    other = chosen(path, tmp_path, artifact="fp32")
    assert other.candidate.artifact.file == "model.fp32.onnx"
    assert "2.10 × slower than the fastest" in other.candidate.reason
    third = chosen(path, tmp_path, artifact="fp32", threads=3)
    assert third.candidate.threads == 3
    assert "measured" not in third.candidate.reason
    assert "measured" not in chosen(path, tmp_path, batch=2).candidate.reason


def test_loading_never_measures(path, tmp_path):
    chosen(path, tmp_path)
    assert not (tmp_path / KIND).exists()


def test_the_rest_of_the_rule_follows(path, tmp_path):
    keep(path, tmp_path, measured(FAST))
    found = rank_candidates(open_bundle(path), tmp_path)
    assert found[0].reason == "measured here on 2026-11-22: the only candidate"
    assert "model.fp32.onnx" in {candidate.artifact.file for candidate in found[1:]}
    assert len({(c.artifact.file, c.engine, c.threads) for c in found}) == len(found)


@pytest.mark.parametrize(
    "damage",
    [
        b"", b"{}", b"null", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 100_000, b"x" * (2 << 20),
        b'{"key": [], "value": {}}',
    ],
)  # fmt: skip
def test_a_damaged_file_is_not_used(path, tmp_path, damage):
    keep(path, tmp_path, BOTH)
    kept_file(tmp_path).write_bytes(damage)
    assert "measured" not in chosen(path, tmp_path).candidate.reason


@pytest.mark.parametrize(
    "forged",
    [
        {"threads": 0},
        {"threads": 10**9},
        {"milliseconds": -1.0},
        {"ratio": 0.0},
        {"artifact": "../../etc/passwd"},
        {"extra": 1},
        {"rounds": "many"},
    ],
)
def test_values_that_cannot_be_are_not_used(path, tmp_path, forged):
    keep(path, tmp_path, BOTH)
    file = kept_file(tmp_path)
    kept = json.loads(file.read_bytes())
    kept["value"]["standings"][0] |= forged
    file.write_text(json.dumps(kept))
    assert read_selection(open_bundle(path), tmp_path, 1) is None
    assert "measured" not in chosen(path, tmp_path).candidate.reason


def test_anothers_file_under_this_ones_name_is_not_used(path, tmp_path, monkeypatch):
    """Copied from another machine and renamed by hand: its key says where it is from."""
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(
            "edgecnn_runtime.selection.record.performance_key", lambda: ("another processor",)
        )
        keep(path, tmp_path, BOTH)
        foreign = kept_file(tmp_path)
    content = foreign.read_bytes()
    foreign.unlink()
    assert read_selection(open_bundle(path), tmp_path, 1) is None
    keep(path, tmp_path, BOTH)
    kept_file(tmp_path).write_bytes(content)
    assert read_selection(open_bundle(path), tmp_path, 1) is None


def test_a_link_is_not_followed(path, tmp_path):
    keep(path, tmp_path, BOTH)
    file = kept_file(tmp_path)
    moved = file.rename(tmp_path / "elsewhere.json")
    file.symlink_to(moved)
    assert read_selection(open_bundle(path), tmp_path, 1) is None


@pytest.mark.parametrize("what", ["versions", "power", "cores", "bundle"])
def test_anything_it_depends_on_makes_it_unknown(path, tmp_path, monkeypatch, what):
    keep(path, tmp_path, BOTH)
    opened = open_bundle(path)
    if what == "versions":
        monkeypatch.setattr(
            "edgecnn_runtime.selection.record.installed", lambda: {"onnxruntime": "9.9"}
        )
    elif what == "power":
        monkeypatch.setattr("edgecnn_runtime.device.fingerprint.power_mode", lambda: "another")
    elif what == "cores":
        monkeypatch.setattr("edgecnn_runtime.device.fingerprint.usable_cores", lambda: 97)
    else:
        opened = type(opened)(opened.path, opened.manifest, "f" * 64)
    assert read_selection(opened, tmp_path, 1) is None


@pytest.mark.parametrize(
    "gone",
    [
        {"artifact": "model.int8-old.onnx"},
        {"backend": "tensorrt"},
        {"backend": "openvino", "precision": "bf16"},  # not verified at export
        {"precision": "int4"},
    ],
)
def test_a_candidate_that_is_gone_is_said_and_the_next_one_taken(path, tmp_path, caplog, gone):
    keep(path, tmp_path, measured(standing(**gone), standing(1.3), plain=1))
    with caplog.at_level(logging.WARNING):
        choice = chosen(path, tmp_path)
    assert choice.candidate.artifact.file == "model.fp32.onnx"
    assert choice.candidate.threads == 1
    assert "does not exist any more" in caplog.text
    assert "--select` measures again" in caplog.text


def test_a_choice_that_fails_its_self_test_falls_back_loudly(build, pictures, tmp_path, caplog):
    """The file that was the fastest computes something else than the golden outputs."""
    good, wrong = build.classifier(), build.classifier()
    weights = next(tensor for tensor in wrong.graph.initializer if tensor.name == "linear")
    weights.raw_data = weights.raw_data[::-1]
    template = build.manifest(
        m.Classify(output="scores"), {"scores": (None, 4)}, size=build.input(32, 24),
        task="classify", labels=tuple("abcd"),
    )  # fmt: skip
    models = {"model.int8-cpu.onnx": wrong, "model.fp32.onnx": good}
    reference = build.run_onnx(good, pictures)
    path = build.bundle(tmp_path / "b.edge", models, template, pictures, reference=reference)
    keep(path, tmp_path, BOTH)
    choice = chosen(path, tmp_path)
    assert choice.candidate.artifact.file == "model.fp32.onnx"
    (refused, why), *_ = choice.refused
    assert refused.artifact.file == "model.int8-cpu.onnx"
    assert "does not reproduce the golden outputs" in why
    assert "refused:" in caplog.text


def test_words(path):
    even = measured(standing(1.0), standing(1.01, threads=2), plain=None)
    assert even.reason(even.standings[0]).endswith(
        "as fast as the next, fp32 on onnxruntime/f32, 2 threads"
    )
    alone = measured(standing(1.0), plain=7)
    assert alone.reason(alone.standings[0]).endswith("the only candidate")
    assert msgspec.json.decode(msgspec.json.encode(BOTH), type=SelectionRecord) == BOTH
