"""Install lines name packages that are on an index, as the metadata of this version lists them."""

import sys
from importlib import metadata

import pytest

import edgecnn_runtime
from edgecnn_runtime.errors import BackendMissingError
from edgecnn_runtime.requirements import install_command

LINES = {
    "edgecnn-runtime": [
        "numpy>=1.24",
        "av>=14; extra == 'stream'",
        "onnxruntime-gpu[cuda,cudnn]>=1.23; extra == 'gpu'",
        "edgecnn-runtime[gpu]; extra == 'gpu-tensorrt'",
        "tensorrt-cu13<11,>=10.13; extra == 'gpu-tensorrt'",
        'opencv-python-headless>=4.8; extra == "opencv"',
    ],
    "edgecnn": [
        "edgecnn-runtime",
        "rich>=13",
        "edgecnn-runtime[opencv]; extra == 'export'",
        "torch>=2.9; (sys_platform == 'linux') and extra == 'export'",
    ],
}


@pytest.fixture
def installed(monkeypatch):
    monkeypatch.setattr(metadata, "requires", LINES.__getitem__)


@pytest.mark.parametrize(
    ("extra", "distribution", "command"),
    [
        ("", "edgecnn-runtime", "pip install 'numpy>=1.24'"),
        ("stream", "edgecnn-runtime", "pip install 'av>=14'"),
        (
            "gpu-tensorrt",
            "edgecnn-runtime",
            "pip install 'onnxruntime-gpu[cuda,cudnn]>=1.23' 'tensorrt-cu13<11,>=10.13'",
        ),
        ("export", "edgecnn", "pip install 'opencv-python-headless>=4.8' 'torch>=2.9'"),
        ("", "edgecnn", "pip install 'rich>=13'"),
        ("other", "edgecnn-runtime", "pip install './runtime[other]'"),
    ],
)
@pytest.mark.usefixtures("installed")
def test_an_extra_is_installed_by_its_packages(extra, distribution, command):
    assert install_command(extra, distribution) == command


def test_a_checkout_that_is_not_installed_names_its_own_extra(monkeypatch):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", absent)
    assert install_command("cpu") == "pip install './runtime[cpu]'"
    assert install_command("export", "edgecnn") == "pip install '.[export]'"


def test_loading_without_opencv_says_both_ways_to_get_one(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(BackendMissingError, match=r"pip install .*opencv.*--system-site-packages"):
        edgecnn_runtime.load  # noqa: B018  (imported when it is asked for)
