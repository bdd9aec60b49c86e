"""Run a worker's file in this environment and answer requests on standard input, one per line.

    PYTHON -I serve.py WORKER.py

A worker that races has ``results(**options)``, an endless iterator of one result per picture, and
``plain(result)``, the same as JSON values. Any other function of the file can be called by name.

    {"do": "call", "name": "build", "with": {…}}   →  {"value": what build(**{…}) returned}
    {"do": "start", "with": {…}}                  →  {"value": null}: results(**{…}) is what runs
    {"do": "look", "count": 105}                  →  {"value": [plain results of the next 105]}
    {"do": "run", "count": 105}                   →  {"value": [milliseconds of each of the next]}

Standard library only, because it runs in every baseline's environment. What the worker prints goes
to standard error; an exception ends it, with the traceback there.
"""

import json
import os
import runpy
import sys
import time


def main():
    """Answer until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    worker = runpy.run_path(sys.argv[1], run_name="worker")
    stream = None
    for line in sys.stdin:
        request = json.loads(line)
        options = request.get("with", {})
        value = None
        if request["do"] == "call":
            value = worker[request["name"]](**options)
        elif request["do"] == "start":
            stream = worker["results"](**options)
        elif request["do"] == "look":
            value = [worker["plain"](next(stream)) for _ in range(request["count"])]
        elif request["do"] == "run":
            value = run(stream, request["count"])
        answers.write(json.dumps({"value": value}) + "\n")
        answers.flush()


def run(stream, count):
    """Milliseconds of each of the next results."""
    clock = time.perf_counter_ns
    times = []
    for _ in range(count):
        start = clock()
        next(stream)
        times.append((clock() - start) / 1e6)
    return times


if __name__ == "__main__":
    main()
