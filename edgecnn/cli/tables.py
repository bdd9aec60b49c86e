"""The one look of every table the commands print."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table


def plain_table(*columns: str, **settings: Any) -> "Table":
    """A rich Table with a rule under its heading and no other line.

    Args:
        *columns: Headings.
        **settings: Of ``rich.table.Table``.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    return Table(
        *columns,
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
        title_justify="left",
        **settings,
    )
