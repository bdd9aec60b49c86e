"""Words of strangers, on their way to a terminal."""


def safe(text: str) -> str:
    """Text as rich prints it literally: no markup, and no control characters for the terminal.

    Labels, file names and messages come from files; an escape sequence in them would be obeyed.
    """
    from rich.markup import escape

    return escape("".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text))
