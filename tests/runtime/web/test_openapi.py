"""The API against its own description: generated requests, right ones and wrong ones."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings

pytest.importorskip("uvicorn", reason="needs the serve extra")
schemathesis = pytest.importorskip("schemathesis", reason="needs the dev extra")
httpx = pytest.importorskip("httpx")

if TYPE_CHECKING:
    from edgecnn_runtime.types import Event
    from edgecnn_runtime.web.fake import FakeOperations
    from edgecnn_runtime.web.operations import LiveView
    from edgecnn_runtime.web.server import WebServer

STREAMS = {"/api/live", "/api/events/stream"}
EXAMPLES = 12
"""Requests per endpoint and mode; the slow test makes ten times as many."""


def labels() -> list[str]:
    from edgecnn_runtime.web.api import ENDPOINTS

    return [f"{endpoint.method} {endpoint.path}" for endpoint in ENDPOINTS]


@pytest.fixture
def document(
    client: Any, viewer: dict[str, str], operations: "FakeOperations",
    view: "Callable[..., LiveView]", event: "Callable[..., Event]", make_squares: Callable,
) -> Any:  # fmt: skip
    """The document of a daemon that has something to show."""
    operations.show("gate", view(1, make_squares(1)))
    operations.show("yard", view(1, make_squares(1)))
    operations.commit(event(1), event(2, type="left", camera="yard"))
    return client.get("api/openapi.json", headers=viewer).json()


def test_the_document_describes_everything(document: Any) -> None:
    described = {
        f"{method.upper()} {path}"
        for path, methods in document["paths"].items()
        for method in methods
    }
    assert described == {*labels(), *(f"GET {path}" for path in STREAMS)}
    assert document["paths"]["/healthz"]["get"]["security"] == []
    assert "401" in document["paths"]["/api/cameras"]["get"]["responses"]
    assert {"Problem", "CameraStatus", "CameraAreas", "EventRecord"} <= set(
        document["components"]["schemas"]
    )
    operations = [
        each["operationId"] for path in document["paths"].values() for each in path.values()
    ]
    assert len(set(operations)) == len(operations)


def fuzz(document: Any, server: "WebServer", label: str, headers: Any, examples: int) -> None:
    """Send generated requests; every answer is one that the document announces."""
    schema = schemathesis.openapi.from_dict(json.loads(json.dumps(document)))
    operations = [result.ok() for result in schema.get_all_operations()]
    operation = next(each for each in operations if each.label == label)
    excluded = [schemathesis.checks.not_a_server_error]  # 503 is announced
    right, wrong = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE
    nothing_to_get_wrong = label in {"GET /healthz", "GET /readyz"}
    for mode in [right] if nothing_to_get_wrong else [right, wrong]:
        strategy = operation.as_strategy(generation_mode=mode)

        @given(case=strategy)
        @settings(
            max_examples=examples,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        )
        def send(case: Any) -> None:
            answer = case.call(base_url=server.address.rstrip("/"), headers=headers, timeout=20)
            if answer.status_code == 429:  # the guard's, after so many requests
                return
            assert answer.status_code != 500, answer.text
            assert b"Traceback" not in answer.content
            names = ("status_code", "content_type", "response_schema")
            checks = [schemathesis.checks.CHECKS.get_one(f"{name}_conformance") for name in names]
            case.validate_response(answer, checks=checks, excluded_checks=excluded)

        send()


@pytest.mark.parametrize("label", labels())
def test_every_answer_is_one_that_the_document_announces(
    document: Any, server: "WebServer", operator: dict[str, str], label: str
) -> None:
    fuzz(document, server, label, operator, EXAMPLES)


@pytest.mark.slow
@pytest.mark.parametrize("label", labels())
def test_thousands_of_requests_do_no_harm(
    document: Any, server: "WebServer", operator: dict[str, str], label: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("edgecnn_runtime.web.auth.Throttle.wait", lambda *_: 0.0)
    fuzz(document, server, label, operator, 10 * EXAMPLES)
    assert httpx.get(f"{server.address}healthz").status_code == 200
