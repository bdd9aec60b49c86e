"""Pipelines as data: what cannot run is refused before anything starts, with file, line and key."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn_runtime.bundle import manifest as m
from edgecnn_runtime.errors import BundleError, ConfigError, EdgecnnError, UsageError
from edgecnn_runtime.recipe import Recipe, read_recipe

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path, bundles: Path) -> Write:
    """Writes a pipeline beside links to the bundles."""
    for bundle in bundles.iterdir():
        (tmp_path / bundle.name).symlink_to(bundle)

    def file(text: str) -> Path:
        path = tmp_path / "pipeline.yaml"
        path.write_text(text)
        return path

    return file


@pytest.fixture(scope="module")
def bundles(build: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundles whose manifests are of every kind; their graphs need not fit, for nothing is run."""
    folder = tmp_path_factory.mktemp("kinds")
    pictures = np.random.default_rng(1).integers(0, 255, (2, 24, 32, 3), np.uint8)
    kinds: dict[str, tuple[str, Any, tuple[str, ...]]] = {
        "faces": ("detect", m.Yolo(output="scores", layout="v8", classes=1, points=5), ("face",)),
        "plates": ("detect", m.Yolo(output="scores", layout="v8", classes=1, points=4), ("plate",)),
        "cars": ("detect", m.Yolo(output="scores", layout="v8", classes=2), ("car", "bus")),
        "colors": ("classify", m.Classify(output="scores"), ("red", "blue", "white", "black")),
        "texts": ("ocr", m.Ctc(output="scores", charset=("A", "B")), ()),
        "vectors": ("embed", m.Embed(output="scores"), ()),
    }
    for name, (task, decode, labels) in kinds.items():
        template = build.manifest(
            decode, {"scores": (None, 4)}, size=build.input(32, 24), task=task, labels=labels
        )
        build.bundle(
            folder / f"{name}.edge", {"model.fp32.onnx": build.classifier()}, template, pictures
        )
    return folder


def test_everything_has_a_default_that_fits_the_models(write: Write, tmp_path: Path) -> None:
    recipe = read_recipe(
        write("detect: {model: plates.edge}\nrecognize: {model: texts.edge, crop: corners}")
    )
    assert recipe.detect is not None
    assert recipe.recognize is not None
    assert recipe.detect.model == str(tmp_path / "plates.edge")
    assert recipe.detect.score == 0.25  # the bundle's
    assert recipe.track["kind"] == "two-pass"
    assert recipe.track["confident"] == 0.25
    assert recipe.least_score == recipe.track["doubtful"] == 0.1
    assert recipe.vote.kind == "text"
    assert recipe.events == ("recognized", "crossed", "left")
    assert recipe.first is recipe.detect
    assert recipe.second is recipe.recognize


@pytest.mark.parametrize(
    ("bundle", "events"),
    [
        ("cars", ("entered", "crossed", "left")), ("texts", ("recognized",)),
        ("colors", ("recognized",)),
    ],
)  # fmt: skip
def test_a_bundle_alone_is_a_pipeline(bundles: Path, bundle: str, events: tuple[str, ...]) -> None:
    recipe = read_recipe(bundles / f"{bundle}.edge")
    assert recipe.first.model == str(bundles / f"{bundle}.edge")
    assert recipe.second is None
    assert recipe.events == events


def test_the_kind_of_vote_follows_from_the_second_model(write: Write) -> None:
    for bundle, kind in (("texts", "text"), ("colors", "label"), ("vectors", "embedding")):
        text = f"detect: {{model: cars.edge}}\nrecognize: {{model: {bundle}.edge}}"
        assert read_recipe(write(text)).vote.kind == kind


def test_a_doubtful_threshold_above_the_confident_one_changes_nothing(write: Write) -> None:
    recipe = read_recipe(write("detect: {model: cars.edge, score: 0.05}"))
    assert recipe.least_score == 0.05


DETECT = "detect: {model: cars.edge}\n"
REFUSED = {
    "": (1, "at least one model"),
    "track: {max_gap: 2}": (1, "at least one model"),
    "detekt: {model: a}": (1, "did you mean detect?"),
    "detect:\n  model: cars.edge\n  scor: 0.4": (3, "did you mean score?"),
    "detect: {model: cars.edge, score: 1.5}": (1, "detect.score"),
    "detect: {}": (1, "lacks the key model"),
    "detect: {model: 'a\tb'}": (1, "detect.model"),
    "detect:\n  model: colors.edge": (2, "finds no objects"),
    "detect:\n  model: cars.edge\n  labels:\n  - car\n  - buss": (5, "did you mean bus?"),
    DETECT + "recognize:\n  model: plates.edge": (3, "is 'detect'; what looks closer"),
    DETECT + "recognize:\n  model: texts.edge\n  crop: corners": (4, "finds none"),
    DETECT + "recognize:\n  model: vectors.edge\n  crop: landmark": (4, "did you mean landmarks?"),
    "detect: {model: faces.edge}\nrecognize:\n  model: texts.edge\n  crop: corners": (4, "finds 5"),
    "detect: {model: plates.edge}\nrecognize:\n  model: vectors.edge\n  crop: landmarks":
        (4, "landmarks are 5 points, and the detector finds 4"),
    "recognize:\n  model: texts.edge\n  crop: corners": (3, "no detector"),
    "recognize:\n  model: vectors.edge": (2, "put a detector before it"),
    DETECT + "vote: {kind: text}": (2, "votes need a second model"),
    DETECT + "recognize: {model: texts.edge}\nvote: {kind: label}": (3, "use text"),
    DETECT + "recognize: {model: texts.edge}\nvote: {kind: txt}": (3, "did you mean text?"),
    DETECT + "events: [entered, recognised]": (2, "did you mean recognized?"),
    DETECT + "events:\n- entered\n- recognized": (4, "nothing is recognized without"),
    DETECT + "track: {kind: two_pass}": (2, "did you mean two-pass?"),
    DETECT + "track:\n  max_gap: 2\n  max_gaps: 3": (4, ": track.max_gaps: no such key; did you"),
    DETECT + "track: {max_gp: 1}": (2, ": track.max_gp: no such key; did you mean max_gap?"),
    DETECT + "track: {knd: two-pass}": (2, ": track.knd: no such key; did you mean kind?"),
    DETECT + "track: {x: 1}": (2, ": track.x: no such key; known here: kind, "),
    DETECT + "track: {kind: [two-pass]}": (2, "track.kind: cannot be ['two-pass']"),
    DETECT + "track:\n  max_gap: -1": (3, "track.max_gap"),
    DETECT + "track:\n  confident: 0.5": (3, "it is the score of detect"),
    DETECT + "track:\n  kind: 7": (3, "cannot be 7"),
    DETECT + "zones:\n  lane: [[0.1, 0.4], [0.9, 0.4], [0.9, 1.5]]": (3, "outside of the picture"),
    DETECT + "zones:\n  lane: [[0.1, 0.4], [0.9, 0.4]]": (3, "three corners"),
    DETECT + "lines: {stop: [[0.1, 0.4], [0.1, 0.4]]}": (2, "are the same"),
    DETECT + "detect: {model: cars.edge}": (2, "set twice"),
    DETECT + "present_every: 0": (2, "present_every"),
    DETECT + "rules:\n- {when: enterd}": (3, "did you mean entered?"),
    DETECT + "rules:\n- {zone: a}\n- {watchlist: gone.csv}": (4, "gone.csv: cannot be read"),
    DETECT + "rules:\n- {when: left}\n- {label: buss}":
        (4, "rules[1].label: there is no class 'buss'; did you mean bus?"),
    DETECT + "rules:\n- label: [car,\n    tram]": (4, "'tram'; there are: car, bus"),
    "detect: {model: cars.edge, labels: [car]}\nrules: [{label: bus}]": (2, "; there are: car"),
    DETECT + "rules:\n- min_score:\n    car: 0.5\n    cars: 0.5":
        (5, "rules[0].min_score.cars: there is no class 'cars'; did you mean car?"),
    DETECT + "rules:\n- {when: [left, recognized]}":
        (3, "rules[0].when[1]: nothing is recognized without"),
    "recognize: {model: colors.edge}\nrules: [{label: red}]": (2, "the answer is the text"),
    "recognize: {model: colors.edge}\naccept: {scores: {reed: 0.5}}": (2, "did you mean red?"),
    DETECT + "accept: {scores: {car: 2}}": (2, "accept.scores"),
    DETECT + "accept:\n  scores: {cars: 0.5}": (3, "did you mean car?"),
}  # fmt: skip


@pytest.mark.parametrize("text", REFUSED)
def test_what_cannot_run_is_refused_with_its_line(write: Write, text: str) -> None:
    line, words = REFUSED[text]
    path = write(text)
    with pytest.raises(ConfigError) as refusal:
        read_recipe(path)
    assert str(refusal.value).startswith(f"{path}:{line}: "), refusal.value
    assert words in str(refusal.value)


def test_classes_without_names_go_by_their_numbers(write: Write) -> None:
    rules = "rules: [{when: recognized, label: '7', min_score: {'12': 0.5, car: 0.5}}]"
    recipe = read_recipe(write(f"{DETECT}recognize: {{model: texts.edge}}\n{rules}"))
    assert recipe.rules[0].label == "7"


def test_errors_of_bundles_stay_what_they_are(write: Write, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"pipeline.yaml:1: detect.model: .*no such bundle"):
        read_recipe(write("detect: {model: gone.edge}"))
    with pytest.raises(BundleError, match=r"pipeline.yaml:1: detect.model: .*digest"):
        read_recipe(write(f"detect: {{model: cars.edge, digest: {'0' * 64}}}"))
    with pytest.raises(UsageError, match="no such bundle"):
        read_recipe(tmp_path / "gone.edge")
    with pytest.raises(ConfigError, match=r"gone.yaml: there is no such pipeline; a bundle"):
        read_recipe(tmp_path / "gone.yaml")


GOOD = """\
detect: {model: plates.edge, score: 0.4, labels: [plate], threads: 1}
track: {kind: two-pass, max_gap: 1.5, confirm: 2}
accept: {min_size: 0.02, min_seconds: 0.1, scores: {plate: 0.3}}
recognize: {model: texts.edge, crop: corners, margin: 0.1, per_track: 8, per_frame: 2}
vote: {kind: text, votes: 3, score: 0.5}
events: [entered, recognized, crossed, present, left]
present_every: 30
zones: {lane: [[0.1, 0.4], [0.9, 0.4], [0.9, 1.0]]}
lines: {stop: [[0.1, 0.8], [0.9, 0.8]]}
rules: [{when: recognized, zone: lane}, {when: left, schedule: {days: [mon]}}]
"""


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 30), st.text(max_size=8))
def test_a_damaged_file_is_never_a_traceback(
    bundles: Path, tmp_path_factory: pytest.TempPathFactory, at: int, cut: int, inserted: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.yaml"
    text = GOOD.replace("model: ", f"model: {bundles}/")
    at += len(text) - len(GOOD) if at > 20 else 0
    path.write_text(text[:at] + inserted + text[at + cut :], encoding="utf-8", errors="replace")
    message = f"{path}:1: "
    try:
        assert isinstance(read_recipe(path), Recipe)
    except EdgecnnError as error:
        message = str(error)
    assert re.match(rf"{re.escape(str(path))}:\d+: ", message)


@pytest.mark.parametrize(
    ("name", "stand_ins", "events"),
    [
        ("faces", {"faces": "faces"}, ("entered", "present", "left")),
        ("plates", {"plate-detector": "plates", "plate-reader": "texts"}, ("recognized", "left")),
    ],
)
def test_the_examples_fit_bundles_of_their_kind(
    root: Path, bundles: Path, tmp_path: Path, name: str, stand_ins: dict[str, str],
    events: tuple[str, ...],
) -> None:  # fmt: skip
    for bundle, other in stand_ins.items():
        (tmp_path / f"{bundle}.edge").symlink_to(bundles / f"{other}.edge")
    path = tmp_path / f"{name}.yaml"
    path.write_text((root / "deploy" / "pipelines" / f"{name}.yaml").read_text())
    assert read_recipe(path).events == events


def test_the_whole_example_is_read(write: Write) -> None:
    recipe = read_recipe(write(GOOD))
    assert recipe.track["max_gap"] == 1.5
    assert recipe.lines["stop"] == ((0.1, 0.8), (0.9, 0.8))


SYNTAX = "countries: {D: {name: Germany, patterns: {'@##': 1}}, NL: {patterns: {'##@': 1}}}\n"


@pytest.mark.parametrize(
    ("vote", "says"),
    [
        ("{countries: [D]}", r"pipeline.yaml:2: vote.countries: .*add syntax: syntax.yaml"),
        ("{syntax: no.yaml}", r"no.yaml: cannot be read"),
        ("{syntax: syntax.yaml, countries: [D, germany]}",
         r"pipeline.yaml:2: vote.countries\[1\]: there is no country 'germany'; did you mean D\?"),
        ("{syntax: bad.yaml}", r"bad.yaml:1: countries.D.patern: no such key"),
    ],
)  # fmt: skip
def test_a_syntax_is_checked_before_anything_starts(
    write: Write, tmp_path: Path, vote: str, says: str
) -> None:
    (tmp_path / "syntax.yaml").write_text(SYNTAX)
    (tmp_path / "bad.yaml").write_text("countries: {D: {patern: {'@': 1}}}")
    with pytest.raises(ConfigError, match=says):
        read_recipe(write(f"recognize: {{model: texts.edge}}\nvote: {vote}\n"))


def test_a_syntax_is_of_texts(write: Write, tmp_path: Path) -> None:
    (tmp_path / "syntax.yaml").write_text(SYNTAX)
    with pytest.raises(ConfigError, match=r"vote\.syntax: it is of texts"):
        read_recipe(write("recognize: {model: colors.edge}\nvote: {syntax: syntax.yaml}\n"))
    recipe = read_recipe(
        write("recognize: {model: texts.edge}\nvote: {syntax: syntax.yaml, countries: [NL]}\n")
    )
    assert recipe.vote.syntax == str(tmp_path / "syntax.yaml")
    assert recipe.vote.countries == ("NL",)
