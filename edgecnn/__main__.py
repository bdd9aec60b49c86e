"""``python -m edgecnn`` is the ``edgecnn`` command."""

from edgecnn.cli import entry

entry()
