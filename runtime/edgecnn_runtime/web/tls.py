"""The server's side of TLS: a certificate and its key."""

import ssl
from pathlib import Path

from edgecnn_runtime.errors import UsageError


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 and later with a certificate.

    Args:
        certificate: PEM file with the certificate and its chain.
        key: PEM file with its private key.

    Raises:
        UsageError: A file is missing, unreadable or no PEM file, the key has a password, or it is
            the key of another certificate.
    """
    for file in (certificate, key):
        try:
            file.open("rb").close()
        except OSError as error:
            raise UsageError(f"{file}: cannot be read: {error.strerror}") from None

    def no_password() -> str:
        raise UsageError(
            f"{key}: has a password, and nobody is there to type it: write the key without one, "
            f"openssl pkey -in {key} -out {key}.plain"
        )

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key, password=no_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise UsageError(f"{key}: is not the key of the certificate {certificate}") from None
        raise UsageError(
            f"{certificate} and {key}: cannot be used for TLS ({error.reason or error}): both must "
            "be PEM files, and the first certificate must be that of the key"
        ) from None
    return context
