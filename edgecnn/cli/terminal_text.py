"""Text from files and messages, made safe for a terminal."""


def strip_control(text: str) -> str:
    """The text without control characters.

    Labels, file names and messages come from files, and a terminal obeys escape sequences.
    """
    return "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text)


def escape_markup(text: str) -> str:
    """The text without control characters, so that rich prints it literally."""
    from rich.markup import escape

    return escape(strip_control(text))
