"""Classify, read and embed, against plain code that follows the definitions number by number."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgecnn_runtime.bundle import manifest as m
from edgecnn_runtime.errors import BundleError
from edgecnn_runtime.preprocess import identity_geometry
from edgecnn_runtime.tasks import make_decoder
from edgecnn_runtime.types import Classification, Embedding, Reading

HOSTILE = st.floats(width=32, allow_nan=True, allow_infinity=True)
LOGITS = st.floats(-30, 30, width=32)


def decode(model, outputs, item=0):
    return make_decoder(model).decode(outputs, item, identity_geometry(model.input))


def softmax(row):
    powers = [math.exp(x - max(row)) for x in row]
    return [power / sum(powers) for power in powers]


def classifier(build, count, **fields):
    labels = [f"class {i}" for i in range(max(count, 2))]
    spec = m.Classify(output="scores", **fields)
    return build.spec(spec, {"scores": (None, count)}, task="classify", labels=labels)


@given(rows=arrays.arrays(np.float32, (3, 5), elements=LOGITS), item=st.integers(0, 2))
def test_softmax(build, rows, item):
    found = decode(classifier(build, 5), {"scores": rows}, item)
    expected = softmax(rows[item].tolist())
    assert isinstance(found, Classification)
    assert found.scores == pytest.approx(expected, abs=1e-5)
    assert found.score == pytest.approx(max(expected), abs=1e-5)
    assert found.label == f"class {found.index}"


@given(row=arrays.arrays(np.float32, (1, 4), elements=LOGITS))
def test_independent_classes(build, row):
    found = decode(classifier(build, 4, multi_label=True), {"scores": row})
    expected = [1 / (1 + math.exp(-x)) for x in row[0].tolist()]
    assert found.scores == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("values", "raw", "expected"),
    [("logits", 0.0, 0.5), ("probabilities", 0.8, 0.8), ("log_probabilities", math.log(0.3), 0.3)],
)
def test_one_column_is_the_score_of_label_1(build, values, raw, expected):
    found = decode(classifier(build, 1, values=values), {"scores": np.float32([[raw]])})
    assert found.scores == pytest.approx([1 - expected, expected], abs=1e-6)
    assert found.label == ("class 1" if expected > 0.5 else "class 0")


@pytest.mark.parametrize("values", ["probabilities", "log_probabilities"])
def test_values_that_need_no_softmax(build, values):
    chances = np.float32([[0.1, 0.7, 0.2]])
    raw = chances if values == "probabilities" else np.log(chances)
    found = decode(classifier(build, 3, values=values), {"scores": raw})
    assert found.scores == pytest.approx([0.1, 0.7, 0.2], abs=1e-6)
    assert (found.index, found.label) == (1, "class 1")


def test_a_missing_label_is_its_number(build):
    model = build.spec(m.Classify(output="scores"), {"scores": (None, 3)}, task="classify")
    assert decode(model, {"scores": np.float32([[0, 5, 1]])}).label == "1"


@given(
    row=arrays.arrays(np.float32, (1, 4), elements=HOSTILE),
    values=st.sampled_from(("logits", "probabilities", "log_probabilities")),
    multi_label=st.booleans(),
)
def test_scores_are_finite_whatever_the_output(build, row, values, multi_label):
    model = classifier(build, 4, values=values, multi_label=multi_label)
    found = decode(model, {"scores": row})
    assert np.isfinite(found.scores).all()
    assert ((found.scores >= 0) & (found.scores <= 1)).all()
    assert found.score == found.scores.max()


def test_the_result_owns_its_scores(build):
    outputs = {"scores": np.float32([[0.2, 0.8]])}
    found = decode(classifier(build, 2, values="probabilities"), outputs)
    outputs["scores"][:] = 7
    assert found.scores == pytest.approx([0.2, 0.8])


# --- text -------------------------------------------------------------------------------------


def reader(build, steps, charset="AB7", **fields):
    spec = m.Ctc(output="text", charset=tuple(charset), **fields)
    classes = len(charset) + 1
    axes = {"N": None, "T": steps, "C": classes}
    shape = tuple(axes[axis] for axis in spec.layout)
    return build.spec(spec, {"text": shape}, task="ocr")


def best_path(steps, charset, blank):
    """Graves et al. 2006: the best class of every step, repeats merged, then blanks dropped."""
    chars = [*charset[:blank], "", *charset[blank:]]
    text, scores, last = "", [], None
    for row in steps.tolist():
        chances = softmax(row)
        best = row.index(max(row))
        if best != last and best != blank:
            text += chars[best]
            scores.append(chances[best])
        last = best
    return text, scores


@given(
    steps=arrays.arrays(np.float32, (9, 4), elements=LOGITS),
    blank=st.integers(0, 3),
    layout=st.sampled_from(("NTC", "NCT", "TNC")),
)
def test_text(build, steps, blank, layout):
    other = np.zeros_like(steps)
    batch = np.stack((other, steps))
    tensor = {
        "NTC": batch,
        "NCT": batch.transpose(0, 2, 1).copy(),
        "TNC": batch.transpose(1, 0, 2).copy(),
    }[layout]
    found = decode(reader(build, 9, blank=blank, layout=layout), {"text": tensor}, 1)
    text, scores = best_path(steps, "AB7", blank)
    assert isinstance(found, Reading)
    assert found.text == text
    assert found.char_scores == pytest.approx(scores, abs=1e-5)
    assert found.score == pytest.approx(min(scores, default=1.0), abs=1e-5)


@given(
    steps=arrays.arrays(np.float32, (1, 6, 4), elements=HOSTILE),
    values=st.sampled_from(("logits", "probabilities", "log_probabilities")),
)
def test_a_reading_is_finite_whatever_the_output(build, steps, values):
    found = decode(reader(build, 6, values=values), {"text": steps})
    assert len(found.char_scores) == len(found.text)
    assert all(0 < score <= 1 for score in found.char_scores)


def test_a_blank_that_is_no_class_is_refused(build):
    with pytest.raises(BundleError, match="blank is 9"):
        make_decoder(reader(build, 5, blank=9))


def test_a_charset_that_does_not_fit_the_output_is_refused(build):
    spec = m.Ctc(output="text", charset=("A", "B"))
    with pytest.raises(BundleError, match=r"output 'text' is \[None, 5, 9\].*needs \[any, 3\]"):
        make_decoder(build.spec(spec, {"text": (None, 5, 9)}, task="ocr"))


# --- features ---------------------------------------------------------------------------------


@given(
    rows=arrays.arrays(
        np.float32, (2, 6, 1, 1), elements=st.floats(0.5, 100, width=32) | st.just(-3.0)
    )
)
def test_features_have_unit_length(build, rows):
    model = build.spec(m.Embed(output="f"), {"f": (None, 6, 1, 1)}, task="embed")
    found = decode(model, {"f": rows}, 1)
    assert isinstance(found, Embedding)
    assert found.vector.shape == (6,)
    assert np.linalg.norm(found.vector) == pytest.approx(1, abs=1e-5)
    assert found.vector * np.linalg.norm(rows[1]) == pytest.approx(rows[1].ravel(), rel=1e-4)


def test_features_can_stay_as_they_are(build):
    spec = m.Embed(output="f", normalize=False)
    model = build.spec(spec, {"f": (None, 2)}, task="embed")
    assert decode(model, {"f": np.float32([[3, 4]])}).vector.tolist() == [3, 4]


@given(rows=arrays.arrays(np.float32, (1, 3), elements=HOSTILE), normalize=st.booleans())
def test_features_are_finite_whatever_the_output(build, rows, normalize):
    spec = m.Embed(output="f", normalize=normalize)
    model = build.spec(spec, {"f": (None, 3)}, task="embed")
    found = decode(model, {"f": rows})
    assert found.vector.dtype == np.float32
    assert np.isfinite(found.vector).all()
