"""What ``edgecnn run`` answers about pictures: a line for each, or its records for ``--json``."""

from typing import TYPE_CHECKING, Any

from edgecnn.cli.terminal_text import strip_control
from edgecnn_runtime.errors import EdgecnnError

if TYPE_CHECKING:
    from edgecnn_runtime.types import FrameResult


class AnswerPrinter:
    """Sink that prints ``digits/a.png: 3, 87 %`` on standard output."""

    def write(self, result: "FrameResult", /) -> None:
        """Print one line.

        Raises:
            EdgecnnError: Standard output is a file on a full disk.
            BrokenPipeError: The reader of standard output has closed it.
        """
        from edgecnn_runtime.tasks import TASKS

        answer = TASKS[result.task].summarize(result.result)
        try:
            print(f"{strip_control(result.frame.file)}: {answer}", flush=True)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise EdgecnnError(f"cannot write standard output: {error.strerror}") from None

    def close(self) -> None:
        """Nothing is held open."""


class AnswerList:
    """Sink that keeps the records of every picture.

    Attributes:
        records: ``{"file": path, "results": [record, …]}`` per picture.
    """

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def write(self, result: "FrameResult", /) -> None:
        """Keep the records of one picture."""
        from edgecnn_runtime.sinks.serialize import frame_record, result_records

        record = {"file": frame_record(result)["file"], "results": list(result_records(result))}
        self.records.append(record)

    def close(self) -> None:
        """Nothing is held open."""
