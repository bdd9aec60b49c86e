"""Crops that ``edgecnn events export`` copies are what the training of a plate reader reads."""

import csv
import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgecnn.cli import main
from edgecnn.train.plates.photographs import read_plates
from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.outbox import Outbox
from edgecnn_runtime.stages.crop import evidence
from edgecnn_runtime.types import Box, Event


def test_exported_crops_are_training_data(
    tmp_path: Path, make_event: Callable[..., Event], capsys: pytest.CaptureFixture[str]
) -> None:
    frame = np.full((240, 320, 3), 40, np.uint8)
    frame[100:140, 80:240] = 220
    crop = evidence(frame, Box(80, 100, 240, 140))
    with Outbox(tmp_path / "state") as outbox:
        for number, text in enumerate(("KAX12O", "KAB812")):
            event = make_event(
                number, time=time.time(), type="recognized", text=text, images={"crop": crop}
            )
            outbox.append([event])
    crops = tmp_path / "crops"
    words = ["events", "export", "--state", str(tmp_path / "state"), "--csv", "--crops", str(crops)]
    assert main(words) == 0
    texts = [row["text"] for row in csv.DictReader(io.StringIO(capsys.readouterr().out))]
    assert texts == ["KAX12O", "KAB812"]
    files = sorted(crops.rglob("*.jpg"))
    assert len(files) == 2
    truth = {"KAX12O": "KAX120", "KAB812": "KAB812"}
    rows = [
        (file.relative_to(tmp_path), right, "0.15")
        for file in files
        for read, right in truth.items()
        if read in file.name
    ]
    table = tmp_path / "mine.csv"
    with table.open("w", newline="") as out:
        csv.writer(out).writerows([("file", "text", "margin"), *rows])
    plates = read_plates(table)
    assert sorted(plate.text for plate in plates) == ["KAB812", "KAX120"]
    for plate in plates:
        bright = (plate.picture > 150).mean()
        assert bright > 0.8, "what lies around the plate is cut away"


def test_a_margin_is_a_fraction(tmp_path: Path) -> None:
    import cv2

    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((40, 160, 3), np.uint8))
    (tmp_path / "mine.csv").write_text("file,text,margin\na.png,KA1,15\n")
    with pytest.raises(UsageError, match=r"mine.csv:2: a margin of 15"):
        read_plates(tmp_path / "mine.csv")
