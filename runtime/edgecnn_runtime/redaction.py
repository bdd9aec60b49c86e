"""Passwords are taken out of whatever is shown or logged."""

import re

SECRETS = (
    r"[\w-]*(?:pass|pwd|psw|secret|token|auth|signature)[\w-]*"
    r"|(?:[\w-]*[_-])?(?:pw|sig|key)|apikey|loginpas"
)
"""Keys whose value is one, such as access_token, passphrase, user-pw, or the password in
``rtsp://cam/user=admin_password=…_channel=1.sdp``. Many cameras have names of their own."""


def redact(text: str) -> str:
    """The text with the passwords of URLs, queries and pipelines replaced by ``***``.

    What UTF-8 cannot hold of it is written as an escape sequence.
    If the end of a password is unclear, everything from the first colon of the user part to the
    last ``@`` is removed.
    """
    text = encodable(text)
    text = re.sub(r"(://[^:@/\s]*):.*@", r"\1:***@", text, flags=re.DOTALL)
    value = r"""("[^"]*"|'[^']*'|[^&\s!]*)"""
    return re.sub(rf"(?i)(?<![\w-])({SECRETS})=\s*{value}", r"\1=***", text)


def encodable(text: str) -> str:
    """Bytes of a file's name that are not UTF-8, as escape sequences."""
    return text.encode("utf-8", "backslashreplace").decode()
