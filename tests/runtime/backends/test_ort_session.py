"""ONNX Runtime is imported and opened in one place, which keeps it from reporting home."""

import ast
import os
import subprocess
import sys

import numpy as np
import pytest

from edgecnn_runtime.backends.ort_session import open_session

QUANTIZER = "export/edgecnn_export/quantization/insert_qdq.py"
"""Imports ONNX Runtime's quantizer, after import_onnxruntime()."""


def test_nothing_else_imports_it(root):
    importers = set()
    for package in ("runtime", "export", "bench/edgecnn_bench", "edgecnn"):
        for path in (root / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                if any(name.split(".")[0] == "onnxruntime" for name in names):
                    importers.add(path.relative_to(root).as_posix())
    assert importers == {"runtime/edgecnn_runtime/backends/ort_session.py", QUANTIZER}


@pytest.mark.parametrize(
    "use",
    [
        "from edgecnn_runtime import load; load(sys.argv[1], self_test=False)",
        "from edgecnn_export.quantization.insert_qdq import insert_qdq as q\n"
        "try: q(None, None)\n"
        "except Exception: pass",
    ],
)
def test_its_telemetry_is_off_before_it_is_imported(use, bundle, tmp_path):
    watch = (
        "import os, sys\n"
        "class Watch:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'onnxruntime': print(os.environ.get('ORT_DISABLE_TELEMETRY'))\n"
        "sys.meta_path.insert(0, Watch())\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run(
        [sys.executable, "-c", watch + use, str(bundle)],
        check=True,
        capture_output=True,
        text=True,
        env=environment | {"XDG_STATE_HOME": str(tmp_path)},
    )
    assert done.stdout.split() == ["1"]


@pytest.mark.parametrize("options", [{}, {"optimize": False}, {"arena": False, "threads": 1}])
def test_a_session_from_a_file_or_from_bytes_computes_the_same(bundle, pictures, build, options):
    file = bundle / "model.fp32.onnx"
    expected = build.run_onnx(build.classifier(), pictures)["scores"]
    for model in (file, file.read_bytes()):
        (scores,) = open_session(model, **options).run(["scores"], {"pixels": pictures})
        assert scores == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_named_sizes_are_fixed(bundle):
    session = open_session(bundle / "model.fp32.onnx", sizes={"N": 3})
    with pytest.raises(Exception, match="dimensions"):
        session.run(None, {"pixels": np.zeros((2, 24, 32, 3), np.uint8)})
