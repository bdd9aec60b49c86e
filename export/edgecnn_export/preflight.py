"""What an export can refuse in a moment: checks that need neither torch nor onnx."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from edgecnn_export.config import ExportConfig
from edgecnn_export.loading.model_file import check_model_file, may_name_bundle
from edgecnn_export.planning.names import check_names, read_pad
from edgecnn_export.planning.normalization import check_numbers
from edgecnn_export.planning.settings import ExportSettings, read_settings
from edgecnn_export.quantization.unfinished import is_unfinished
from edgecnn_export.verification.images import Flag, list_pictures
from edgecnn_export.verification.verify import engines
from edgecnn_runtime.bundle.bundle import SUFFIX, check_new_bundle
from edgecnn_runtime.errors import UsageError


@dataclass(frozen=True)
class CheckedSettings:
    """An export's settings after these checks.

    Attributes:
        settings: Flags merged over YAML.
        backends: The engines to verify on.
        folder: Where the pictures to verify on are; "" for none.
        flag: The flag that names it.
        files: The pictures.
    """

    settings: ExportSettings
    backends: list[str]
    folder: str
    flag: Flag
    files: list[Path]


def check_settings(typed: ExportConfig) -> CheckedSettings:
    """Check everything that can be checked before the model is loaded.

    Args:
        typed: The settings as they were typed.

    Raises:
        UsageError: A setting is wrong or missing, a file or folder is not there, or the bundle
            exists already.
        CheckpointError: The model file is damaged.
        UnsupportedModelError: The model file belongs to another framework.
        BackendMissingError: An engine cannot be used here.
    """
    settings = read_settings(typed)
    config = settings.config
    check_int8(config)
    backends = engines(config.backends)
    kind = check_model_file(config)
    check_names(config)
    check_numbers(config)
    read_pad(config.pad)
    if config.out or config.name or not may_name_bundle(Path(config.model), kind):
        out = bundle_path(config)
        check_new_bundle(out, overwrite=config.overwrite or is_unfinished(out, config))
    folder, flag = _image_source(config)
    return CheckedSettings(settings, backends, folder, flag, list_pictures(folder, flag))


def bundle_path(config: ExportConfig) -> Path:
    """Where the bundle is written."""
    return Path(config.out or config.bundle_name() + SUFFIX)


def check_int8(config: ExportConfig) -> None:
    """Look at the settings before anything takes time.

    Args:
        config: What the user set.

    Raises:
        UsageError: A setting is missing, needs another one, or names what cannot be used.
    """
    flags = [
        "--" + name.replace("_", "-")
        for name in ("calib", "eval_data", "targets", "max_drop", "method", "work_dir")
        if getattr(config, name)
    ]
    if config.fp16 and not config.int8 and config.calib:  # it is searched on these pictures, too
        flags.remove("--calib")
        list_pictures(config.calib, "--calib")
    if not config.int8:
        if flags:
            raise UsageError(f"{', '.join(flags)}: only with --int8; add it, or leave them out")
        return
    if not config.calib:
        raise UsageError(
            "--int8 needs --calib DIR: 100 to 300 pictures like those the camera will see; "
            "they need no labels"
        )
    list_pictures(config.calib, "--calib")
    if config.eval_data and not Path(config.eval_data).exists():
        raise UsageError(f"--eval-data {config.eval_data}: no such file or folder")
    if config.eval_data and Path(config.eval_data).is_dir():
        list_pictures(config.eval_data, "--eval-data")
    if config.work_dir:
        try:
            Path(config.work_dir).mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=config.work_dir):
                pass
        except OSError as error:
            raise UsageError(
                f"--work-dir {config.work_dir}: cannot be written to: {error.strerror}"
            ) from error


def _image_source(config: ExportConfig) -> tuple[str, Flag]:
    """The folder to verify on, and the flag that names it."""
    return (config.images, "--images") if config.images else (config.calib, "--calib")
