"""RapidOCR reading lines that somebody else has found, and whole photographs."""

import itertools
import time
from pathlib import Path

import cv2
from rapidocr import RapidOCR


def results(pictures):
    """Endless; the recognizer alone, on pictures in memory, by file name.

    Without what it does to whole pages first (it would enlarge a small crop to multiples of 32, and
    read a seventh of them differently), and without dropping what it is less than half sure of.
    """
    params = {"Global.log_level": "error", "Global.use_preprocess_img": False}
    reader = RapidOCR(params=params | {"Global.text_score": 0.0})
    crops = [cv2.imread(str(file)) for file in sorted(Path(pictures).iterdir())]
    for crop in itertools.cycle(crops):
        yield reader(crop, use_det=False, use_cls=False, use_rec=True)


def plain(result):
    return result.txts[0] if result.txts else ""


def lines(files):
    """Every line that it reads in whole pictures, as it comes, and the milliseconds of each."""
    reader = RapidOCR(params={"Global.log_level": "error"})
    answers = []
    for file in files:
        picture = cv2.imread(file)
        start = time.perf_counter()
        result = reader(picture)
        ms = 1000 * (time.perf_counter() - start)
        answers.append({"lines": list(result.txts or ()), "ms": ms})
    return answers
