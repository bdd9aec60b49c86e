"""Every error that edgecnn raises on purpose, and the exit code of its commands.

    EdgecnnError               1  anything else, such as a full disk
    ├── UsageError             2  a flag, key, path or value cannot be right
    │   ├── ConfigError        2  the same in a YAML or JSON file
    │   ├── UnknownCameraError 2  no camera has this name
    │   └── EditConflictError  2  somebody else has changed it meanwhile
    ├── VerificationError      3  something was measured and is not good enough
    │   ├── BundleError        3  a bundle differs from its manifest
    │   └── SelfTestError      3  a backend gives wrong results here
    ├── UnsupportedModelError  4  this version cannot take the model
    │   ├── CheckpointError    4  a checkpoint is damaged or does not fit
    │   └── UntrustedError     4  loading the file could run code in it
    ├── BackendMissingError    5  an engine or an extra is not installed
    ├── SourceLostError        6  a camera or file cannot be opened, or ended
    │   └── SourceRefusedError 6  a camera does not accept user and password
    ├── SinkDownError          1  whoever is told of events does not answer now
    ├── OutboxError            1  the database of events cannot be used
    └── ExportInterruptedError 130  Ctrl-C after the float bundle was written

Each message says what happened, where, and what to type next.
"""


class EdgecnnError(Exception):
    """The base of all errors.

    Attributes:
        exit_code: The exit code of a command that ends with this error.
    """

    exit_code = 1


class UsageError(EdgecnnError):
    """A flag, key, path or value that cannot be right."""

    exit_code = 2


class ConfigError(UsageError):
    """A YAML or JSON value that cannot be right; the message names file, line and key."""


class VerificationError(EdgecnnError):
    """Something was measured and is not good enough to be emitted or used."""

    exit_code = 3


class BundleError(VerificationError):
    """A bundle that differs from its manifest, or that cannot be trusted."""


class SelfTestError(VerificationError):
    """A backend that does not reproduce the bundle's golden outputs on this machine."""


class UnsupportedModelError(EdgecnnError):
    """A model that this version cannot take."""

    exit_code = 4


class CheckpointError(UnsupportedModelError):
    """A checkpoint that is damaged or does not fit its architecture."""


class UntrustedError(UnsupportedModelError):
    """A file whose loading could run code that came with it."""


class BackendMissingError(EdgecnnError):
    """An inference engine or an extra that is not installed here."""

    exit_code = 5


class SourceLostError(EdgecnnError):
    """A camera, stream or file that cannot be opened, or that ended where it should not."""

    exit_code = 6


class SourceRefusedError(SourceLostError):
    """A camera that is there and does not accept user and password."""


class SinkDownError(EdgecnnError):
    """Who is told of events cannot be reached now, or refuses them; they are kept for later."""


class OutboxError(EdgecnnError):
    """The database of events cannot be opened, read or written."""


class UnknownCameraError(UsageError):
    """There is no camera of this name."""


class EditConflictError(UsageError):
    """What is to be changed is not what whoever changes it has seen."""


class ExportInterruptedError(EdgecnnError):
    """Ctrl-C while INT8 was made. The float bundle is complete, and the same export goes on."""

    exit_code = 130
