"""ONVIF cameras on the local network, found by asking everybody.

The question is WS-Discovery's Probe, sent by multicast (ONVIF Core Specification, 7.3); each camera
answers with the address of its services, which are asked for its streams (ONVIF Media Service,
5.2 and 5.15). Whatever answers is a stranger: answers are short, time is limited, XML with a
document type is refused, no redirection is followed, and what is shown is plain text.
"""

import base64
import hashlib
import http.client
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime, timezone
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from edgecnn.cameras import NetworkCamera
from edgecnn_runtime.errors import UsageError

EVERYBODY = ("239.255.255.250", 3702)
"""The multicast group of WS-Discovery."""
MAX_CAMERAS = 256
MAX_ANSWER = 256 * 1024
"""Bytes of an answer that are read."""
PATIENCE = 3.0
"""Seconds that a camera's services may take."""
ENVELOPE = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope">'
    "<s:Header>{header}</s:Header><s:Body>{body}</s:Body></s:Envelope>"
)
PROBE_HEADER = (
    '<a:MessageID xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing">uuid:{id}</a:MessageID>'
    '<a:To xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing">'
    "urn:schemas-xmlsoap-org:ws:2005:04:discovery</a:To>"
    '<a:Action xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing">'
    "http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe</a:Action>"
)
PROBE = (
    '<d:Probe xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery">'
    '<d:Types xmlns:n="http://www.onvif.org/ver10/network/wsdl">n:NetworkVideoTransmitter</d:Types>'
    "</d:Probe>"
)
WSS = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss"
SECURITY = (
    f'<w:Security xmlns:w="{WSS}-wssecurity-secext-1.0.xsd" '
    f'xmlns:u="{WSS}-wssecurity-utility-1.0.xsd">'
    "<w:UsernameToken><w:Username>{user}</w:Username>"
    f'<w:Password Type="{WSS}-username-token-profile-1.0#PasswordDigest">'
    "{digest}</w:Password><w:Nonce>{nonce}</w:Nonce><u:Created>{created}</u:Created>"
    "</w:UsernameToken></w:Security>"
)
DEVICE, MEDIA = "http://www.onvif.org/ver10/device/wsdl", "http://www.onvif.org/ver10/media/wsdl"
CAPABILITIES = f'<GetCapabilities xmlns="{DEVICE}"><Category>Media</Category></GetCapabilities>'
PROFILES = f'<GetProfiles xmlns="{MEDIA}"/>'
STREAM = (
    f'<GetStreamUri xmlns="{MEDIA}"><StreamSetup>'
    '<Stream xmlns="http://www.onvif.org/ver10/schema">RTP-Unicast</Stream>'
    '<Transport xmlns="http://www.onvif.org/ver10/schema"><Protocol>RTSP</Protocol></Transport>'
    "</StreamSetup><ProfileToken>{token}</ProfileToken></GetStreamUri>"
)


class OnvifError(Exception):
    """A camera that did not tell what it was asked; the message says why, without a secret."""


def discover(
    seconds: float = 3.0,
    user: str = "",
    password: str = "",
    group: tuple[str, int] = EVERYBODY,
    interface: str = "",
) -> list[NetworkCamera]:
    """Ask everybody on the network which cameras there are, and each for its streams.

    Args:
        seconds: To wait for the first answers.
        user: Of the cameras; without one those that ask for it do not tell their streams.
        password: The same; what is sent is its digest.
        group: Where the question goes.
        interface: This machine's own IPv4 address on the network of the cameras; "" for the one
            that multicast takes by default.

    Raises:
        UsageError: This machine has no network, or not that address.
    """
    cameras = []
    for host, name, service in sorted(set(_probe(seconds, group, interface))):
        try:
            streams, problem = _streams(service, user, password), ""
        except OnvifError as error:
            streams, problem = [], str(error)
        cameras.append(NetworkCamera(host=host, name=name, streams=streams, problem=problem))
    return cameras


def _probe(
    seconds: float, group: tuple[str, int], interface: str
) -> Iterator[tuple[str, str, str]]:
    """Address, name and service of each device that answers."""
    question = ENVELOPE.format(header=PROBE_HEADER.format(id=uuid.uuid4()), body=PROBE)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as everybody:
        everybody.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
        try:
            if interface:
                own = socket.inet_aton(interface)
                everybody.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, own)
            everybody.sendto(question.encode(), group)
        except OSError as error:
            through = f" through {interface}" if interface else ""
            raise UsageError(
                f"no camera can be asked{through} ({error.strerror or error}): --interface takes "
                "this machine's own IPv4 address on their network; `ip -4 address` lists them"
            ) from None
        end = time.monotonic() + seconds
        for _ in range(MAX_CAMERAS):
            everybody.settimeout(max(0.01, end - time.monotonic()))
            try:
                data, (host, _port) = everybody.recvfrom(65536)
            except TimeoutError:
                return
            try:
                answer = _parse(data)
            except OnvifError:
                continue
            for match in _all(answer, "ProbeMatch"):
                services = [
                    address
                    for address in _text(match, "XAddrs").split()
                    if urlsplit(address).hostname == host
                ]
                if services:
                    yield host, _name(_text(match, "Scopes")), services[0]


def _name(scopes: str) -> str:
    """``onvif://www.onvif.org/name/Gate%20Cam`` → ``Gate Cam``."""
    marker = "://www.onvif.org/name/"
    names = (scope.partition(marker)[2] for scope in scopes.split() if marker in scope)
    return "".join(filter(str.isprintable, unquote(next(names, ""))))[:80]


def _streams(service: str, user: str, password: str) -> list[str]:
    """Addresses of a camera's streams, the largest picture first."""
    media = _text(_ask(service, CAPABILITIES, user, password), "XAddr")
    if urlsplit(media).hostname != urlsplit(service).hostname:
        media = service
    sizes: dict[str, int] = {}
    for profile in list(_all(_ask(media, PROFILES, user, password), "Profiles"))[:8]:
        token = profile.get("token", "")
        encoder = next(_all(profile, "VideoEncoderConfiguration"), None)
        if not token or encoder is None:
            continue
        answer = _ask(media, STREAM.format(token=escape(token)), user, password)
        address = _text(answer, "Uri")
        parts = urlsplit(address)
        is_ours = parts.hostname == urlsplit(service).hostname and address.isprintable()
        if parts.scheme in {"rtsp", "rtsps"} and is_ours:
            bare = address.replace(parts.netloc, parts.netloc.rpartition("@")[2], 1)
            width, height = _text(encoder, "Width"), _text(encoder, "Height")
            known = width.isdecimal() and height.isdecimal()
            sizes[bare] = int(width[:5]) * int(height[:5]) if known else 0
    if not sizes:
        raise OnvifError("it tells no RTSP stream")
    return sorted(sizes, key=lambda address: -sizes[address])


def _ask(service: str, body: str, user: str, password: str) -> ElementTree.Element:
    address = urlsplit(service)
    kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
    if address.scheme not in kinds or address.hostname is None:
        raise OnvifError("its service has no address that can be asked")
    message = ENVELOPE.format(header=_security(user, password) if user else "", body=body)
    try:
        connection = kinds[address.scheme](address.hostname, address.port, timeout=PATIENCE)
        headers = {"Content-Type": "application/soap+xml; charset=utf-8"}
        with closing(connection):
            connection.connect()
            with _hung_up_after(PATIENCE, connection.sock):
                connection.request("POST", address.path or "/", message.encode(), headers)
                response = connection.getresponse()
                data = response.read(MAX_ANSWER)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise OnvifError(f"its service does not answer ({type(error).__name__})") from None
    if response.status == http.HTTPStatus.UNAUTHORIZED or b"NotAuthorized" in data:
        refused = "it refuses this user and password" if user else "it asks for a user: --user NAME"
        raise OnvifError(refused)
    if response.status != http.HTTPStatus.OK:
        raise OnvifError(f"its service answers {response.status}")
    return _parse(data)


@contextmanager
def _hung_up_after(seconds: float, connection: socket.socket) -> Iterator[None]:
    """Limit the whole answer: a time-out of a socket begins anew with each byte."""

    def hang_up() -> None:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, hang_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _security(user: str, password: str) -> str:
    """Of WS-Security's UsernameToken Profile 1.0: the password's digest, good for once."""
    nonce = os.urandom(16)
    created = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    secret = nonce + created.encode() + password.encode()
    digest = hashlib.sha1(secret).digest()  # noqa: S324  (what the profile asks for)
    return SECURITY.format(
        user=escape(user),
        digest=base64.b64encode(digest).decode(),
        nonce=base64.b64encode(nonce).decode(),
        created=created,
    )


def _parse(data: bytes) -> ElementTree.Element:
    try:
        text = data.decode("utf-8-sig")  # in UTF-16 a document type would not be found
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise OnvifError("it answers with a document type")
        return ElementTree.fromstring(text)  # noqa: S314  (without a type there are no entities)
    except (ElementTree.ParseError, ValueError, LookupError):
        raise OnvifError("it answers with something else than XML") from None


def _all(element: ElementTree.Element, name: str) -> Iterator[ElementTree.Element]:
    """Elements of this name, in any namespace."""
    return (child for child in element.iter() if child.tag.rpartition("}")[2] == name)


def _text(element: ElementTree.Element, name: str) -> str:
    child = next(_all(element, name), None)
    return "" if child is None else (child.text or "").strip()
