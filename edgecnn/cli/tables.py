"""The one look of every table the commands print."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table


def plain_table(*texts: str, numbers: Sequence[str] = (), **settings: Any) -> "Table":
    """A rich Table with a rule under its heading and no other line.

    Args:
        *texts: Headings of columns of words, which are folded where they do not fit.
        numbers: Headings of the columns after them: to the right, and never wrapped.
        **settings: Of ``rich.table.Table``.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Column, Table

    columns = [Column(heading, overflow="fold") for heading in texts]
    columns += [Column(heading, justify="right", no_wrap=True) for heading in numbers]
    settings |= {"box": SIMPLE_HEAD, "pad_edge": False, "collapse_padding": True}
    return Table(*columns, title_justify="left", **settings)
