"""The API: what each path does, in one table. ``Endpoint`` validates, ``Operations`` does."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.responses import FileResponse, Response

from edgecnn_runtime import __version__
from edgecnn_runtime.errors import UnknownCameraError
from edgecnn_runtime.sinks.serialize import EventRecord, event_record
from edgecnn_runtime.web.endpoint import JSON, Call, Endpoint
from edgecnn_runtime.web.live import encode_jpeg
from edgecnn_runtime.web.operations import (
    AreaName,
    CameraAreas,
    CameraStatus,
    EventQuery,
    Figures,
    areas_revision,
)
from edgecnn_runtime.web.problem import HttpError
from edgecnn_runtime.web.tokens import Role

JPEG = "image/jpeg"
SNAPSHOT_QUALITY = 92


class Health(msgspec.Struct, frozen=True):
    """Whether the daemon lives, or is ready.

    Attributes:
        status: "ok", or "not ready".
        reason: Why it is not ready; only for who may see the cameras.
    """

    status: str
    reason: str = ""


class DaemonStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The daemon as a whole.

    Attributes:
        version: Of edgecnn.
        role: Of who asks.
        problem: Why it is not ready to serve; empty where it is.
        figures: Of outbox, sinks and machine.
    """

    version: str
    role: Role
    problem: str
    figures: Figures


class NewCamera(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A camera to add.

    Attributes:
        name: Its name.
        config: Its keys as in site.yaml.
    """

    name: AreaName
    config: Annotated[dict[str, Any], Meta(max_length=64)]


class EventPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some of the events that were asked for, newest first.

    Attributes:
        events: The events.
        next: What to pass as ``before`` for the next page; empty on the last one.
    """

    events: list[EventRecord]
    next: str = ""


def healthz(_call: Call) -> Health:
    """The process answers."""
    return Health("ok")


def readyz(call: Call) -> Response:
    """Whether it serves: 200 or 503, for a load balancer; the reason is not for strangers."""
    problem = call.operations.ready()
    health = Health("not ready", problem if call.role else "") if problem else Health("ok")
    return Response(
        msgspec.json.encode(health), 503 if problem else 200, media_type="application/json"
    )


def daemon_status(call: Call) -> DaemonStatus:
    """Version, readiness and figures."""
    assert call.role is not None
    operations = call.operations
    return DaemonStatus(
        version=__version__,
        role=call.role,
        problem=operations.ready(),
        figures=operations.figures(),
    )


def reload(call: Call) -> None:
    """Read site.yaml again."""
    call.operations.reload()


def cameras(call: Call) -> list[CameraStatus]:
    """All of them."""
    return list(call.operations.cameras())


def camera(call: Call) -> CameraStatus:
    """One of them."""
    return _status(call, call.path["camera"])


def add_camera(call: Call) -> CameraStatus:
    """Written to site.yaml, and started."""
    if any(status.name == call.body.name for status in call.operations.cameras()):
        raise HttpError(409, f"there is a camera {call.body.name} already")
    call.operations.add_camera(call.body.name, call.body.config)
    return _status(call, call.body.name)


def remove_camera(call: Call) -> None:
    """Stopped, and taken out of site.yaml."""
    call.operations.remove_camera(camera(call).name)


def pause(call: Call) -> None:
    """Until it is resumed."""
    call.operations.pause(camera(call).name, True)


def resume(call: Call) -> None:
    """After a pause."""
    call.operations.pause(camera(call).name, False)


def snapshot(call: Call) -> Response:
    """The newest frame, masked and blurred as the site asks."""
    view = call.operations.view(camera(call).name, timeout=1.0)
    if view is None:
        raise HttpError(503, "the camera has shown nothing yet", retry_after=5.0)
    return Response(encode_jpeg(view.result.frame.pixels, SNAPSHOT_QUALITY), media_type=JPEG)


def areas(call: Call) -> Response:
    """What is drawn on a camera's picture."""
    areas = call.operations.areas(camera(call).name)
    headers = {"ETag": f'"{areas_revision(areas)}"'}
    return Response(msgspec.json.encode(areas), headers=headers, media_type=JSON)


def set_areas(call: Call) -> Response:
    """All of them at once; what is left out is removed."""
    call.operations.set_areas(camera(call).name, call.body, call.if_match)
    return areas(call)


def events(call: Call) -> EventPage:
    """One page, newest first."""
    query: EventQuery = call.query
    entries = call.operations.events(msgspec.structs.replace(query, limit=query.limit + 1))
    page = entries[: query.limit]
    following = page[-1].id if len(entries) > query.limit else ""
    return EventPage(events=[event_record(each) for each in page], next=following)


def event(call: Call) -> dict[str, Any]:
    """One event."""
    entry = call.operations.event(call.path["event"])
    if entry is None:
        raise HttpError(404, "there is no event of this id, or no longer")
    return event_record(entry)


def evidence(call: Call) -> Response:
    """A picture of an event."""
    event_id, name = call.path["event"], call.path["name"]
    entry = call.operations.event(event_id)
    file = call.operations.evidence(event_id, name) if entry and name in entry.evidence else None
    if file is None or not file.is_file():
        raise HttpError(404, "there is no such picture of this event, or no longer")
    return FileResponse(file, media_type=JPEG, headers={"Cache-Control": "private, max-age=86400"})


def _status(call: Call, name: str) -> CameraStatus:
    for status in call.operations.cameras():
        if status.name == name:
            return status
    raise UnknownCameraError("there is no camera of this name; GET api/cameras lists them")


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="GET", path="/healthz", summary="Whether the process answers",
        handle=healthz, access="open", returns=Health,
    ),
    Endpoint(
        method="GET", path="/readyz", summary="Whether the daemon serves",
        handle=readyz, access="open", returns=Health, problems=(503,),
    ),
    Endpoint(
        method="GET", path="/api/status", summary="Version, readiness and figures",
        handle=daemon_status, returns=DaemonStatus,
    ),
    Endpoint(
        method="POST", path="/api/reload", summary="Read site.yaml again",
        handle=reload, access="operator", problems=(409, 422),
    ),
    Endpoint(
        method="GET", path="/api/cameras", summary="All cameras",
        handle=cameras, returns=list[CameraStatus],
    ),
    Endpoint(
        method="POST", path="/api/cameras", summary="Add a camera to site.yaml and start it",
        handle=add_camera, access="operator", body=NewCamera, returns=CameraStatus,
        status=201, problems=(409,),
    ),
    Endpoint(
        method="GET", path="/api/cameras/{camera}", summary="One camera",
        handle=camera, returns=CameraStatus, problems=(404,),
    ),
    Endpoint(
        method="DELETE", path="/api/cameras/{camera}",
        summary="Stop a camera and take it out of site.yaml",
        handle=remove_camera, access="operator", problems=(404, 409, 422),
    ),
    Endpoint(
        method="POST", path="/api/cameras/{camera}/pause", summary="Stop reading a camera",
        handle=pause, access="operator", problems=(404, 409),
    ),
    Endpoint(
        method="POST", path="/api/cameras/{camera}/resume", summary="Read it again",
        handle=resume, access="operator", problems=(404, 409),
    ),
    Endpoint(
        method="GET", path="/api/cameras/{camera}/snapshot", summary="Its newest frame",
        handle=snapshot, returns=JPEG, problems=(404, 503),
    ),
    Endpoint(
        method="GET", path="/api/cameras/{camera}/areas", summary="Its zones, lines and mask",
        handle=areas, returns=CameraAreas, problems=(404,),
    ),
    Endpoint(
        method="PUT", path="/api/cameras/{camera}/areas",
        summary="Write zones, lines and mask to site.yaml and use them",
        handle=set_areas, access="operator", body=CameraAreas, returns=CameraAreas,
        problems=(404, 409, 412), if_match=True,
    ),
    Endpoint(
        method="GET", path="/api/events", summary="Events, newest first, a page at a time",
        handle=events, query=EventQuery, returns=EventPage, problems=(503,),
    ),
    Endpoint(
        method="GET", path="/api/events/{event}", summary="One event",
        handle=event, returns=EventRecord, problems=(404, 503),
    ),
    Endpoint(
        method="GET", path="/api/events/{event}/evidence/{name}", summary="A picture of it",
        handle=evidence, returns=JPEG, problems=(404, 503),
    ),
)  # fmt: skip
"""Everything but streams and pages, which ``app`` has."""
