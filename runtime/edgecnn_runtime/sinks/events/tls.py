"""TLS of a sink: the peer is always verified."""

import ssl

import msgspec

from edgecnn_runtime.errors import ConfigError
from edgecnn_runtime.sinks.events.base import SinkContext


class Tls(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Certificates in PEM files, relative to the folder of site.yaml.

    Attributes:
        ca: Authorities that sign the server's certificate; the system's where it is empty.
        certificate: This client's own, where the server asks for one.
        key: Its private key.
    """

    ca: str = ""
    certificate: str = ""
    key: str = ""


def tls_context(tls: Tls, context: SinkContext) -> ssl.SSLContext:
    """What verifies a server.

    Raises:
        ConfigError: A file cannot be read, or the key does not belong to the certificate.
    """
    where = f"sinks.{context.name}.tls"
    try:
        verifying = ssl.create_default_context(
            cafile=str(context.folder / tls.ca) if tls.ca else None
        )
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{where}.ca: {context.folder / tls.ca}: {_words(error)}") from None
    if tls.certificate:
        certificate = context.folder / tls.certificate
        key = context.folder / tls.key if tls.key else None
        try:
            # A password that is asked for on a terminal would stop the daemon.
            verifying.load_cert_chain(certificate, key, password=lambda: "")
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"{where}.certificate: {certificate}: {_words(error)}") from None
    return verifying


def _words(error: OSError) -> str:
    reason = getattr(error, "reason", "") or error.strerror or str(error)
    if reason == "KEY_VALUES_MISMATCH":
        return "the key does not belong to this certificate"
    return str(reason)
