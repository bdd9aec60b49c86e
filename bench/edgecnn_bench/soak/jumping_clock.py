"""edgecnn with a wall clock that can jump, as a network's time server or an empty battery makes it.

    python -m edgecnn_bench.soak.jumping_clock OFFSET_FILE serve site.yaml

The clock is as many seconds ahead as the file says at each moment; the monotonic clock is the real
one. libfaketime, which does this to any program, breaks ``time.sleep`` of Python 3.11 and newer.
"""

import runpy
import sys
import time
from pathlib import Path


def let_jump(offset: Path) -> None:
    """Replace ``time.time`` in this process.

    Args:
        offset: The file with the seconds.
    """
    real = time.time

    def jumping() -> float:
        return real() + float(offset.read_text() or "0")

    time.time = jumping


if __name__ == "__main__":
    let_jump(Path(sys.argv.pop(1)))
    sys.argv[0] = "edgecnn"
    runpy.run_module("edgecnn", run_name="__main__", alter_sys=True)
