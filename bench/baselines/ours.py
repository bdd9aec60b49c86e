"""edgecnn's side of every race: a bundle on a video, on frames in memory, or on an engine alone."""

import itertools
import time

from edgecnn_runtime import Classification, Reading, load
from edgecnn_runtime.source import open_source


def results(bundle, source, memory=0, **loading):
    """Endless (result, milliseconds outside the engine).

    source: a video, or a folder of pictures. memory: how many of its frames are decoded beforehand
    and stay in memory; 0 reads the source again and again, decoding included.
    """
    clock = time.perf_counter
    with load(bundle, **loading) as model:
        for frame in itertools.cycle(in_memory(source, memory)) if memory else endless(source):
            start = clock()
            geometry = model.prepare(frame)
            prepared = clock()
            outputs = model.infer()
            inferred = clock()
            result = model.decode(outputs, 0, geometry)
            yield result, (prepared - start + clock() - inferred) * 1e3


def plain(pair):
    """Boxes as x1, y1, x2, y2, score; text; or the best class."""
    result, outside_ms = pair
    return {"result": values(result), "outside_ms": outside_ms}


def values(result):
    """The result as JSON values."""
    if isinstance(result, Reading):
        return result.text
    if isinstance(result, Classification):
        return result.index
    return [[*detection.box, detection.score] for detection in result]


def choice(bundle, **loading):
    """The artifact, engine and precision that the bundle is run with, in words."""
    with load(bundle, **loading) as model:
        return str(model.choice.candidate).replace("model.", "").replace(".onnx", "")


def endless(source):
    """Frames of a video, opened again after the last one."""
    while True:
        with open_source(source) as stream:
            for frame in stream:
                yield frame.pixels


def in_memory(source, count):
    """The first frames, decoded."""
    with open_source(source) as stream:
        return [frame.pixels for frame in itertools.islice(stream, count)]
