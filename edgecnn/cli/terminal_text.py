"""Words of strangers, on their way to a terminal."""


def strip_control(text: str) -> str:
    """Text without control characters for the terminal.

    Labels, file names and messages come from files; an escape sequence in them would be obeyed.
    """
    return "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text)


def escape_markup(text: str) -> str:
    """``plain`` text as rich prints it literally: no markup."""
    from rich.markup import escape

    return escape(strip_control(text))
