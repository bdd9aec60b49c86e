"""Tasks, heads and labels, as far as they can be checked before a model is loaded."""

from edgecnn_export import heads
from edgecnn_export.config import ExportConfig
from edgecnn_export.planning.labels import read_labels
from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.tasks import TASKS


def check_names(config: ExportConfig) -> str | None:
    """Check that task and head exist and fit each other, and that labels can be read.

    Returns:
        The task; None where the model has to tell.

    Raises:
        UsageError: They do not.
    """
    if config.task not in {None, *TASKS}:
        raise UsageError(f"--task {config.task}: expected one of {', '.join(TASKS)}")
    head = requested_head(config)
    read_labels(config)
    return heads.task_of_head(head, config.task) if head else config.task


def requested_head(config: ExportConfig) -> str:
    """The head that the user named; "" where it is to be guessed."""
    return "" if config.head == "auto" else config.head or ""
