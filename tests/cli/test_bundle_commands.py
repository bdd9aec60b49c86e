"""inspect, verify, pack and unpack: what they say, and what they refuse."""

import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest

from edgecnn.cli import main
from edgecnn_runtime.backends import installed
from edgecnn_runtime.bundle.bundle import open_bundle
from edgecnn_runtime.bundle.manifest import Manifest

Captured = pytest.CaptureFixture[str]
Rewrite = Callable[[Path, Callable[[dict[str, Any]], None]], None]


@pytest.fixture
def own(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A bundle to damage."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / tiny_bundle.name))


def rewrite(bundle: Path, change: Callable[[dict[str, Any]], None]) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    change(manifest)
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def test_inspect_shows_what_a_person_asks_for(tiny_bundle: Path, capsys: Captured) -> None:
    assert main(["inspect", str(tiny_bundle)]) == 0
    shown = capsys.readouterr().out
    for words in ("uint8[N,32,32,3] BGR", "classify", "model.fp32.onnx", "stretch, linear",
                  open_bundle(tiny_bundle).digest):  # fmt: skip
        assert words in shown.replace("\n", "")


def test_inspect_repeats_what_was_assumed(own: Path, capsys: Captured) -> None:
    rewrite(own, lambda m: m["model"]["input"]["normalization"].update(origin="assumed"))
    assert main(["inspect", str(own)]) == 0
    assert "ASSUMED" in capsys.readouterr().out


def test_inspect_repeats_that_the_color_was_assumed(own: Path, capsys: Captured) -> None:
    assert main(["inspect", str(own)]) == 0
    assert "ASSUMED" not in capsys.readouterr().out
    rewrite(own, lambda m: m["model"]["input"].update(color="rgb", color_origin="assumed"))
    assert main(["inspect", str(own)]) == 0
    assert "export again with --color" in " ".join(capsys.readouterr().out.split())


def test_inspect_tells_what_int8_was_made_from_and_reaches(own: Path, capsys: Captured) -> None:
    quality = {
        "metric": "top-1", "value": 0.981, "reference": 0.984, "low": 0.97, "high": 0.99,
        "samples": 1000, "data": "labels.tsv",
    }  # fmt: skip

    def change(manifest: dict[str, Any]) -> None:
        manifest["artifacts"][0]["quality"] = quality
        manifest["provenance"] |= {"calibration_count": 120, "calibration_sha256": "c" * 64}

    rewrite(own, change)
    assert main(["inspect", str(own)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "top-1 98.10% (97.0% to 99.0%), float 98.40%, on 1000 of" in shown
    assert "on 120 pictures, sha256 ccc" in shown


def test_inspect_gives_the_whole_manifest_to_a_script(tiny_bundle: Path, capsys: Captured) -> None:
    assert main(["inspect", str(tiny_bundle), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    bundle = open_bundle(tiny_bundle)
    assert shown["digest"] == bundle.digest
    assert msgspec.convert(shown["manifest"], Manifest) == bundle.manifest


def test_inspect_lets_no_label_talk_to_the_terminal(own: Path, capsys: Captured) -> None:
    hostile = ["\x1b[31mred", "[bold]b[/]", "c\x07", "[/]"]
    rewrite(own, lambda m: m["model"].update(labels=hostile))
    assert main(["inspect", str(own)]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "[bold]b[/]" in shown


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "a flipped byte": (lambda b: flip(b / "model.fp32.onnx"), "sha256 differs"),
    "golden data gone": (lambda b: (b / "golden.npz").unlink(), "golden.npz is missing"),
    "no JSON": (lambda b: (b / "manifest.json").write_text("{"), "not a manifest"),
    "the future": (lambda b: rewrite(b, lambda m: m.update(schema=99)), "version 99 is newer"),
    "a strange key": (lambda b: rewrite(b, lambda m: m.update(x=1)), "`x`; a newer edgecnn"),
    "a file elsewhere": (
        lambda b: rewrite(b, lambda m: m["artifacts"][0].update(file="../x.onnx")),
        "artifacts[0].file",
    ),
}  # fmt: skip


@pytest.mark.parametrize("command", ["inspect", "verify", "pack"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_bundle_is_refused_by_name(
    own: Path, command: str, damage: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(own.parent)
    harm, words = DAMAGE[damage]
    harm(own)
    assert main([command, str(own)]) == 3
    assert words in capsys.readouterr().err
    assert not list(own.parent.glob("*.tar"))


@pytest.mark.parametrize("command", ["inspect", "verify", "pack"])
def test_what_is_no_bundle_is_a_usage_error(command: str, tmp_path: Path, capsys: Captured) -> None:
    assert main([command, str(tmp_path)]) == 2
    assert "is not a bundle" in capsys.readouterr().err
    assert main([command, str(tmp_path / "nowhere.edge")]) == 2
    assert "nowhere.edge: no such bundle" in capsys.readouterr().err


def test_verify_passes_on_every_engine(tiny_bundle: Path, capsys: Captured) -> None:
    assert main(["verify", str(tiny_bundle), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert {verdict["engine"] for verdict in shown["verdicts"]} == {
        "onnxruntime/f32",
        "openvino/f32",
    }
    assert all(verdict["passed"] for verdict in shown["verdicts"])
    assert main(["verify", str(tiny_bundle)]) == 0
    assert "verified" in capsys.readouterr().out


@pytest.mark.skipif(any("tensorrt" in name for name in installed()), reason="it is tried here")
def test_verify_says_what_nothing_here_can_try(own: Path, capsys: Captured) -> None:
    shutil.copy(own / "model.fp32.onnx", own / "model.int8-trt.onnx")

    def add(manifest: dict[str, Any]) -> None:
        more = {"file": "model.int8-trt.onnx", "precision": "int8", "target": "trt"}
        manifest["artifacts"].append(manifest["artifacts"][0] | more)

    rewrite(own, add)
    assert main(["verify", str(own)]) == 0
    assert (
        "not tried: model.int8-trt.onnx, for engines that are not here" in capsys.readouterr().out
    )


def test_verify_fails_with_3_and_says_by_how_much(wrong_bundle: Path, capsys: Captured) -> None:
    assert main(["verify", str(wrong_bundle)]) == 3
    shown = capsys.readouterr().out.replace("\n", " ")
    assert "FAILED" in shown
    assert "does not reproduce the golden outputs" in shown


def test_verify_compares_the_engines_on_pictures(
    tiny_bundle: Path, tmp_path: Path, capsys: Captured
) -> None:
    for index, picture in enumerate(np.random.default_rng(0).integers(0, 255, (5, 40, 50, 3))):
        cv2.imwrite(str(tmp_path / f"{index}.png"), picture.astype(np.uint8))
    assert main(["verify", str(tiny_bundle), "--images", str(tmp_path), "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)["verdicts"]
    assert first["comparison"] is None
    assert second["comparison"]["agreement"] == 1.0
    assert main(["verify", str(tiny_bundle), "--images", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "5 more" in shown
    assert "reference" in shown


@pytest.mark.parametrize("count", [1, 4])
def test_verify_on_one_picture_or_on_equal_ones(
    tiny_bundle: Path, tmp_path: Path, capsys: Captured, count: int
) -> None:
    """Their outputs do not vary: it is the golden ones that errors are compared with."""
    picture = np.random.default_rng(0).integers(0, 255, (40, 50, 3)).astype(np.uint8)
    for index in range(count):
        cv2.imwrite(str(tmp_path / f"{index}.png"), picture)
    assert main(["verify", str(tiny_bundle), "--images", str(tmp_path), "--json"]) == 0
    _, second = json.loads(capsys.readouterr().out)["verdicts"]
    (parity,) = second["comparison"]["parity"].values()
    assert parity["snr_db"] == pytest.approx(min(second["selftest"]["snr_db"].values()), abs=20)


def test_verify_refuses_a_model_that_is_not_the_manifests(own: Path, capsys: Captured) -> None:
    rewrite(own, lambda m: m["model"]["input"].update(width=28))
    assert main(["verify", str(own)]) == 3
    shown = " ".join(capsys.readouterr().out.split())
    assert "takes [1, 32, 32, 3]; the manifest says [1, 32, 28, 3]" in shown
    rewrite(own, lambda m: m["model"]["input"].update(width=32))
    rewrite(own, lambda m: m["model"]["outputs"][0].update(shape=[None, 7]))
    assert main(["verify", str(own)]) == 3
    assert "; the manifest says [1, 7]" in " ".join(capsys.readouterr().out.split())


def test_errors_let_no_file_talk_to_the_terminal(own: Path, capsys: Captured) -> None:
    rewrite(own, lambda m: m.update({"\x1b[31mred": 1}))
    assert main(["verify", str(own)]) != 0
    said = capsys.readouterr().err
    assert "\x1b" not in said
    assert "[31mred" in said


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--backend", "openvion"], 2, "did you mean 'openvino'"),
        (["--precision", "f11"], 5, "f11"),
        (["--count", "0"], 2, "--count is at least 1"),
        (["--images", "/nowhere"], 2, "no such folder"),
    ],
)
def test_verify_refuses_what_cannot_be_meant(
    tiny_bundle: Path, flags: list[str], code: int, words: str, capsys: Captured
) -> None:
    assert main(["verify", str(tiny_bundle), *flags]) == code
    assert words in capsys.readouterr().err


def test_a_bundle_survives_packing(tiny_bundle: Path, tmp_path: Path, capsys: Captured) -> None:
    tar = tmp_path / "one.tar"
    assert main(["pack", str(tiny_bundle), "--out", str(tar)]) == 0
    assert main(["unpack", str(tar), "--into", str(tmp_path / "there")]) == 0
    assert "next: edgecnn verify" in capsys.readouterr().out
    there = tmp_path / "there" / tiny_bundle.name
    assert open_bundle(there).digest == open_bundle(tiny_bundle).digest
    assert main(["unpack", str(tar), "--into", str(tmp_path / "there")]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main(["unpack", str(tar), "--into", str(tmp_path / "there"), "--overwrite"]) == 0
    assert main(["inspect", str(tar)]) == 2
    assert "edgecnn unpack" in capsys.readouterr().err


def evil_tar(path: Path, name: str, **fields: Any) -> Path:
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo(name)
        for key, value in fields.items():
            setattr(info, key, value)
        archive.addfile(info)
    return path


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("../x.edge/manifest.json", {}),
        ("/x.edge/manifest.json", {}),
        ("x.edge/../../manifest.json", {}),
        ("x.edge/sub/manifest.json", {}),
        ("x.edge/manifest.json", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}),
        ("x.edge/manifest.json", {"type": tarfile.LNKTYPE, "linkname": "/etc/passwd"}),
        ("x.edge", {"type": tarfile.DIRTYPE}),
        ("manifest.json", {}),
    ],
)
def test_unpack_refuses_what_would_leave_the_folder(
    tmp_path: Path, name: str, fields: dict[str, Any], capsys: Captured
) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    tar = evil_tar(tmp_path / "evil.tar", name, **fields)
    assert main(["unpack", str(tar), "--into", str(inside)]) == 3
    assert "refuses member" in capsys.readouterr().err
    assert list(inside.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"not a tar at all", b"x" * 2048])
def test_unpack_refuses_what_is_no_tar(tmp_path: Path, content: bytes, capsys: Captured) -> None:
    (tmp_path / "x.tar").write_bytes(content)
    assert main(["unpack", str(tmp_path / "x.tar"), "--into", str(tmp_path)]) == 3
    assert "x.tar" in capsys.readouterr().err


def test_unpack_of_nothing_is_a_usage_error(tmp_path: Path, capsys: Captured) -> None:
    assert main(["unpack", str(tmp_path / "x.tar")]) == 2
    assert "no such file" in capsys.readouterr().err


def test_pack_says_where_it_cannot_write(
    tiny_bundle: Path, tmp_path: Path, capsys: Captured
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["pack", str(tiny_bundle), "--out", str(tmp_path / "file" / "x.tar")]) == 1
    assert "cannot write" in capsys.readouterr().err


def test_errors_are_json_for_a_script(tmp_path: Path, capsys: Captured) -> None:
    assert main(["inspect", str(tmp_path), "--json"]) == 2
    shown = json.loads(capsys.readouterr().out)
    assert (shown["error"], shown["exit"]) == ("UsageError", 2)


@pytest.mark.parametrize("command", ["inspect", "verify", "pack", "unpack"])
def test_help_has_an_example(command: str, capsys: Captured) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert f"example:\n  edgecnn {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["inspetc"], "did you mean inspect?"),
        (["verify", "x", "--imges", "d"], "did you mean --images?"),
        (["verify"], "required: BUNDLE"),
        ([], "COMMAND"),
    ],
)
def test_a_typo_is_answered_with_what_was_meant(
    words: list[str], hint: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["edgecnn", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    shown = capsys.readouterr().err
    assert hint in shown
    assert "--help` lists everything" in shown
