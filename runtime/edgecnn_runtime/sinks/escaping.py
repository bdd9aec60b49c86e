"""Texts of models and lists on their way to terminals and spreadsheets.

Labels, charsets and watch lists come from files of others. A terminal obeys control characters in
them, and a spreadsheet calculates a cell that begins like a formula. JSON lines hold every text as
it is, such characters as escape sequences of JSON. Cells of a table are for people: ``table_cell``.
"""

import re

OBEYED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Control characters but the line break, and those that change the direction of text."""
QUOTE = "'"
FORMULAS = ("=", "+", "-", "@", "＝", "＋", "－", "＠", QUOTE)
"""What a cell begins with that spreadsheets calculate, wide letters of East Asia included; and the
quote itself, so that it is told from one that was put there."""


def escape_json(text: str) -> str:
    """JSON without characters that a terminal obeys; it means the same.

    Args:
        text: JSON without line breaks.
    """
    if text.isprintable():
        return text
    return OBEYED.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def table_cell(value: object) -> object:
    """A value as a cell of a table.

    A text that begins with one of FORMULAS gets a quote in front, as people type it in a
    spreadsheet; ``removeprefix("'")`` takes it away again. Characters that a terminal obeys become
    U+FFFD, for good. Anything but a text stays as it is.
    """
    if not isinstance(value, str):
        return value
    if not value.isprintable():
        value = OBEYED.sub("\ufffd", value)
    return QUOTE + value if value.startswith(FORMULAS) else value
