"""Modules of the user's own, named on the command line as ``package.module:name``."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path


class ProgramEndedError(RuntimeError):
    """Code that was to be imported or called wanted to end the program."""


@contextlib.contextmanager
def running_user_code() -> Iterator[None]:
    """Around code of the user's own, imported or called.

    Its imports find the current folder behind everything that is installed, what it prints goes to
    standard error, as ours may be read by a script, and the command line is not its to read. Raises
    ProgramEndedError where it calls ``sys.exit``, which would pass for our own success.
    """
    folder, arguments = str(Path.cwd()), sys.argv
    sys.path.append(folder)
    sys.argv = arguments[:1]
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except SystemExit as end:
        raise ProgramEndedError(
            f"it ends the program (exit {end.code}); keep what a script does when it is started "
            "under if __name__ == '__main__'"
        ) from None
    finally:
        sys.argv = arguments
        for at in reversed(range(len(sys.path))):
            if sys.path[at] is folder:
                del sys.path[at]
