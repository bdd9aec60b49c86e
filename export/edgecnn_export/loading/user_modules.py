"""Modules of the user's own, named on the command line as ``package.module:name``."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path


class ProgramEndedError(RuntimeError):
    """User code that was imported or called tried to end the program."""


@contextlib.contextmanager
def running_user_code(folder: Path | None = None) -> Iterator[None]:
    """Import or call the user's own code inside this block.

    Its imports find a folder, by default the current one, after all that is installed. What it
    prints goes to standard error, because a script may read our standard output, and it sees no
    command line.

    Raises:
        ProgramEndedError: It calls ``sys.exit``, which would look like our own success.
    """
    searched, arguments = str(folder or Path.cwd()), sys.argv
    sys.path.append(searched)
    sys.argv = arguments[:1]
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except SystemExit as end:
        raise ProgramEndedError(
            f"it ends the program (exit {end.code}); put what it does as a script "
            "under if __name__ == '__main__'"
        ) from None
    finally:
        sys.argv = arguments
        for at in reversed(range(len(sys.path))):
            if sys.path[at] is searched:
                del sys.path[at]
