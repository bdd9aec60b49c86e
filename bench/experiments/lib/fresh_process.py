"""A function of a script, called in a process of its own: nothing is loaded there before it."""

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHILD = """
import json, os, runpy, sys
answer = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what the function prints is no answer
file, name, arguments = sys.argv[1:]
value = runpy.run_path(file)[name](*json.loads(arguments))
answer.write(json.dumps(value))
answer.flush()
os._exit(0)  # without waiting for threads that are still busy
"""


def in_fresh_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a top-level function of a script in a new Python process.

    Args:
        function: Its file is run there under another name than ``__main__``.
        arguments: JSON values.

    Returns:
        What the function returned, as JSON values.

    Raises:
        subprocess.CalledProcessError: The function raised; the traceback is on standard error.
    """
    done = subprocess.run(
        [sys.executable, "-c", CHILD, inspect.getfile(function), function.__name__,
         json.dumps(arguments)],
        check=True, stdout=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip
    return json.loads(done.stdout)
