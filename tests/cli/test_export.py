"""``edgecnn export`` as it is typed."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from edgecnn import save_checkpoint
from edgecnn.cli import main
from edgecnn.models.mnist_cnn2 import MnistCnn2
from edgecnn_runtime.bundle.bundle import open_bundle

pytestmark = pytest.mark.usefixtures("torchlib")

Captured = pytest.CaptureFixture[str]
ARCH = "edgecnn.models.mnist_cnn2:MnistCnn2"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """digits.pt, weights.pt, names.txt, pictures/ and model.yaml, made once."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    model = MnistCnn2()
    spec = {"input": "28x28", "color": "gray", "mean": (33.3,), "std": (78.6,)}
    save_checkpoint(folder / "digits.pt", model, arch=ARCH, spec=spec)
    torch.save(model.state_dict(), folder / "weights.pt")
    (folder / "names.txt").write_text("zero\none\ntwo\nthree\nfour\n")
    (folder / "pictures").mkdir()
    for index, picture in enumerate(np.random.default_rng(0).integers(0, 255, (3, 40, 30, 3))):
        cv2.imwrite(str(folder / "pictures" / f"{index}.png"), picture)
    (folder / "model.yaml").write_text(
        f"model: weights.pt\narch: {ARCH}\ninput: 28x28\ncolor: gray\nimages: pictures\n"
        "mean: [10]\nstd: [20]\nlabels: [a, b, c, d, e, f, no, 7, i, j]\nout: from-yaml.edge\n"
    )
    return folder


@pytest.fixture
def here(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with all of it."""
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_one_word_is_enough(here: Path, capsys: Captured) -> None:
    assert main(["export", "digits.pt"]) == 0
    said = capsys.readouterr()
    assert (
        open_bundle(here / "digits.edge").manifest.provenance.command == "edgecnn export digits.pt"
    )
    assert "digits.edge verified in" in said.out
    assert "next: edgecnn run digits.edge" in said.out
    assert "0.99999" in said.out
    assert "verified on synthetic ones" in said.out.replace("\n", " ")
    assert "the head was guessed from the outputs: classify" in said.out.replace("\n", " ")
    assert "guessed from the shapes" in (here / "digits.edge" / "report.html").read_text()
    assert main(["inspect", "digits.edge"]) == 0
    assert "guessed from the outputs" in " ".join(capsys.readouterr().out.split())
    assert main(["export", "digits.pt", "--head", "classify", "--overwrite"]) == 0
    assert "guessed" not in capsys.readouterr().out
    for step in ("load", "trace", "fold", "optimize", "verify on onnxruntime", "pack"):
        assert step in said.err


def test_flags_yaml_and_json(here: Path, capsys: Captured) -> None:
    assert main(["export", "--spec", "model.yaml", "--mean", "11", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    bundle = open_bundle(here / "from-yaml.edge")
    assert said["digest"] == bundle.digest
    assert said["manifest"]["model"]["labels"][6:8] == ["no", "7"]
    numbers = bundle.manifest.model.input.normalization
    assert (numbers.mean, numbers.std, numbers.origin) == ((11.0,), (20.0,), "flag")
    assert bundle.manifest.golden.pictures == "given"
    assert any("only 3 pictures" in warning for warning in said["warnings"])
    assert set(said["seconds"]) >= {"load", "trace", "verify on openvino"}


def test_what_nobody_said_is_printed(here: Path, capsys: Captured) -> None:
    assert main(["export", "weights.pt", "--arch", ARCH, "--input", "28x28"]) == 0
    assert "ASSUMED normalization: unit" in capsys.readouterr().out.replace("\n", " ")
    assert main(["inspect", "weights.edge"]) == 0
    assert "ASSUMED" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["nowhere.pt"], 2, "no such file"),
        (["digits.pt", "--mean", "a"], 2, "--mean a: expected a number"),
        (["digits.pt", "--color", "grey"], 2, "did you mean gray?"),
        (["digits.pt", "--input", "28"], 0, ""),
        (["digits.pt", "--input", "28x"], 2, "--input 28x: cannot be '28x'"),
        (["digits.pt", "--input", "96x96"], 4, "96x96"),
        (["digits.pt", "--labels", "names.txt"], 2, "has 5 names, but the model has 10 classes"),
        (["digits.pt", "--labels", "gone.txt"], 2, "gone.txt: No such file"),
        (["digits.pt", "--task", "detect"], 2, "cannot tell the head"),
        (["digits.pt", "--decode", "{"], 2, "--decode takes JSON"),
        (["digits.pt", "--backends", "onxruntime"], 2, "did you mean 'onnxruntime'"),
        (["weights.pt"], 2, "--arch package.module:factory"),
        (["weights.pt", "--arch", ARCH], 2, "add --input WIDTHxHEIGHT"),
        (
            ["weights.pt", "--arch", "edgecnn.models.mnist_net:MnistNet", "--input", "28"],
            4,
            "does not fit its architecture",
        ),
        (["--spec", "gone.yaml"], 2, "gone.yaml: cannot be read"),
        ([], 2, "which model?"),
    ],
)
def test_errors_say_what_to_type(
    here: Path, words: list[str], code: int, message: str, capsys: Captured
) -> None:
    before = sorted(here.iterdir())
    assert main(["export", *words]) == code
    assert message in capsys.readouterr().err
    assert code == 0 or sorted(here.iterdir()) == before


def test_a_wrong_yaml_names_its_line(here: Path, capsys: Captured) -> None:
    (here / "model.yaml").write_text("model: digits.pt\nlables: [a]\n")
    assert main(["export", "--spec", "model.yaml"]) == 2
    assert "model.yaml:2: lables: no such key; did you mean labels?" in capsys.readouterr().err


def test_a_network_that_prints_does_not_print_into_json(here: Path, capsys: Captured) -> None:
    (here / "talks.py").write_text(
        "from edgecnn.models.mnist_cnn2 import MnistCnn2\n"
        "class Net(MnistCnn2):\n"
        "    def forward(self, x):\n        print('forward')\n        return super().forward(x)\n"
    )
    assert main(["export", "--spec", "model.yaml", "--arch", "talks:Net", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)
    assert "forward" in said.err


def test_errors_are_json_for_a_script(here: Path, capsys: Captured) -> None:
    assert main(["export", "nowhere.pt", "--json"]) == 2
    said = json.loads(capsys.readouterr().out)
    assert (said["error"], said["exit"]) == ("UsageError", 2)


def test_help_lists_every_setting_with_examples(capsys: Captured) -> None:
    from msgspec.structs import fields

    from edgecnn_export.config import ExportConfig

    with pytest.raises(SystemExit):
        main(["export", "--help"])
    shown = capsys.readouterr().out
    for field in fields(ExportConfig):
        assert field.name == "model" or f"--{field.name.replace('_', '-')}" in shown
    assert "example:\n  edgecnn export model.pt" in shown


def test_help_does_not_wait_for_torch() -> None:
    code = (
        "import sys; from edgecnn.cli import main\n"
        "try: main(['export', '--help'])\nexcept SystemExit: pass\n"
        "sys.exit('torch' in sys.modules or 'onnx' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
