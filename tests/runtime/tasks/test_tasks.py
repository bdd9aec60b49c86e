"""Finding the task of a model and its decoder."""

import msgspec
import pytest

from edgecnn_runtime.bundle.manifest import Embed, ModelSpec
from edgecnn_runtime.errors import BundleError
from edgecnn_runtime.tasks import TASKS, classify, make_decoder, task_of


def test_a_model_has_the_task_of_its_name(classifier: ModelSpec) -> None:
    assert task_of(classifier) is classify


def test_a_task_of_a_newer_version_is_named(classifier: ModelSpec) -> None:
    newer = msgspec.structs.replace(classifier, task="weigh")
    with pytest.raises(BundleError, match="'weigh', and this version knows classify, ocr"):
        make_decoder(newer)


def test_a_head_of_another_task_is_refused(classifier: ModelSpec) -> None:
    mixed = msgspec.structs.replace(classifier, decode=Embed(output="logits"))
    with pytest.raises(BundleError, match="'classify' has no Embed head"):
        make_decoder(mixed)


def test_the_order_of_tasks_is_that_of_the_columns_of_a_table() -> None:
    """Appending a task adds columns at the end of a CSV file; readers by position stay right."""
    assert list(TASKS)[:4] == ["classify", "ocr", "detect", "embed"]
