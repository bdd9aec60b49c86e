"""A plate reader learns from rendered crops, and goes on where it was."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from edgecnn.train.plates.crops import CropMaker
from edgecnn.train.plates.fonts import Fonts
from edgecnn.train.plates.grammar import CHARSET
from edgecnn.train.plates.photographs import PlateImage, read_plates
from edgecnn.train.plates.reader import train_reader
from edgecnn.train.plates.reader_batches import IGNORED, step_classes
from edgecnn.train.plates.reader_config import ReaderConfig
from edgecnn.train.plates.readings import GroupScore, decode, read_plate_images, score_groups
from edgecnn_export.checkpoint import parse_checkpoint
from edgecnn_export.loading.architecture import build_architecture
from edgecnn_runtime.errors import CheckpointError, UsageError


class Progress:
    def __init__(self) -> None:
        self.losses: list[float] = []
        self.scores: list[Sequence[GroupScore]] = []

    def step(self, _done: int, _total: int, loss: float) -> None:
        self.losses.append(loss)

    def measured(self, _done: int, scores: Sequence[GroupScore]) -> None:
        self.scores.append(scores)


@pytest.fixture
def photographs(tmp_path: Path, maker: CropMaker) -> Path:
    folder = tmp_path / "plates"
    folder.mkdir()
    for number in range(3):
        crop = maker.crop((9, number))
        cv2.imwrite(str(folder / f"{number}.png"), crop.picture)
    rows = [f"{number}.png,AB{number}" for number in range(3)]
    (folder / "labels.csv").write_text("file,text\n" + "\n".join(rows))
    return folder


def test_the_reader_that_travels_reads_what_it_has_not_seen(root: Path, maker: CropMaker) -> None:
    stored = torch.load(root / "edgecnn" / "plates" / "plate_reader.pt", weights_only=True)
    checkpoint = parse_checkpoint(stored, Path("plate_reader.pt"))
    net = build_architecture(checkpoint.arch, checkpoint.arch_args)
    net.load_state_dict(checkpoint.state_dict)
    crops = [maker.crop((77, number)) for number in range(60)]
    plates = [PlateImage(c.picture, "".join(c.lines), Path("-"), "rendered") for c in crops]
    (score,) = score_groups(plates, read_plate_images(net, plates))
    assert score.right >= 0.4 * score.count
    assert sum(parameter.numel() for parameter in net.parameters()) < 1_000_000


def test_steps_that_know_their_characters_spell_the_text(maker: CropMaker) -> None:
    for number in range(30):
        crop = maker.crop((5, number))
        if any((xs < 0).any() or (xs >= 160).any() for xs in crop.columns):
            continue
        steps = step_classes(crop)
        steps[steps == IGNORED] = 0
        likely = np.eye(1 + len(CHARSET), dtype=np.float32)[steps]
        reading = decode(likely)
        assert reading.text == "".join(crop.lines)
        assert reading.char_scores == (1.0,) * len(reading.text)


def test_a_training_learns_and_goes_on(tmp_path: Path, photographs: Path, fonts: Fonts) -> None:
    out = tmp_path / "reader.pt"
    few = {"countries": ("N",), "batch": 8, "fresh": 1, "pool": 16, "lr": 0.05}
    settings = few | {"out": str(out)}
    first = Progress()
    train_reader(ReaderConfig(**settings, steps=12), first)
    assert out.exists()
    second = Progress()
    table = (str(photographs / "labels.csv"),)
    scores = train_reader(ReaderConfig(**settings, steps=24, photographs=table), second)
    assert len(first.losses) == len(second.losses) == 12
    assert np.mean(second.losses[-4:]) < 0.7 * np.mean(first.losses[:4])
    assert [(score.group, score.count) for score in scores] == [("plates", 3)]
    assert second.scores == [scores]
    own = ReaderConfig(
        **settings | {"out": str(tmp_path / "own.pt")}, steps=2, init_from=str(out), data=table[0]
    )
    third = Progress()
    train_reader(own, third)
    assert third.losses[0] < np.mean(first.losses[:2])
    (tmp_path / "reader.pt.state").write_bytes(out.read_bytes())
    with pytest.raises(CheckpointError, match="Remove it to begin anew"):
        train_reader(ReaderConfig(**settings, steps=24), Progress())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,text\na.png,A1", "labels.csv:1: columns file and text"),
        ("file,text\na.png,A1", "a.png: cannot be read as a picture"),
        ("file,text,x,y,w,h\n0.png,A1,1,2,x,4", "labels.csv:2: could not convert"),
        ("file,text,x,y,w,h\n0.png,A1,900,2,3,4", "labels.csv:2: the box 900, 2, 3, 4 is outside"),
        ("file,text\n0.png,a-1", "labels.csv:2: 'a-1' has a character that no plate has: 'a'"),
        ("file,text", "no plates"),
    ],
)
def test_a_bad_table_is_named(photographs: Path, text: str, message: str) -> None:
    table = photographs / "labels.csv"
    table.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_plates(table)
    assert message in str(caught.value)


def test_a_folder_of_plates_that_are_named_after_their_texts(
    tmp_path: Path, maker: CropMaker
) -> None:
    picture = maker.crop(1).picture
    for name in ("皖A12345.png", "AB12CD_2.png"):
        (tmp_path / name).write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    (tmp_path / "note.txt").write_text("no picture")
    assert [plate.text for plate in read_plates(tmp_path)] == ["AB12CD", "皖A12345"]
