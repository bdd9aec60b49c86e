"""Who is let in: tokens, sessions, foreign hosts and pages, guesses, and what pages may load."""

import re
from collections.abc import Callable
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("uvicorn", reason="needs the serve extra")
import httpx

from edgecnn_runtime.web import guard
from edgecnn_runtime.web.auth import SESSION_SECONDS, Authenticator, Throttle
from edgecnn_runtime.web.fake import FakeOperations
from edgecnn_runtime.web.tokens import Tokens

if TYPE_CHECKING:
    from edgecnn_runtime.web.server import WebServer

Headers = dict[str, str]
CHANGE = "api/cameras/gate/pause"


def log_in(client: Any, token: str, **headers: str) -> Any:
    origin = str(client.base_url).rstrip("/")
    return client.post("login", data={"token": token}, headers={"Origin": origin} | headers)


def test_a_token_opens_what_its_role_may(client: Any, viewer: Headers, operator: Headers) -> None:
    assert client.get("api/status", headers=viewer).json()["role"] == "viewer"
    assert client.get("api/status", headers=operator).json()["role"] == "operator"
    for wrong in ("Bearer x", "Bearer", "Basic x", viewer["Authorization"] + "x", "Bearer é"):
        answer = client.get("api/status", headers={"Authorization": wrong.encode()})
        assert answer.status_code == 401


def test_a_stranger_is_led_to_the_login_page(client: Any) -> None:
    for path in ("", "api"):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["location"]) == (303, "login")
    assert "<form" in client.get("login").text


def test_the_form_begins_a_session_that_scripts_cannot_read(client: Any, tokens: Tokens) -> None:
    answer = log_in(client, tokens.operator)
    assert (answer.status_code, answer.headers["location"]) == (303, "./")
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    assert tokens.operator not in cookie
    assert client.get("api/status").json()["role"] == "operator"
    assert client.get("").status_code == 200
    answer = client.post(
        "logout", data={"a": "b"}, headers={"Origin": str(client.base_url).rstrip("/")}
    )
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert client.get("api/status").status_code == 401


def test_a_wrong_token_in_the_form_says_so(client: Any, tokens: Tokens) -> None:
    answer = log_in(client, tokens.viewer[:-1])
    assert (answer.status_code, "set-cookie" in answer.headers) == (401, False)
    assert "data-failed" in answer.text
    assert tokens.viewer[:-1] not in answer.text


def test_a_session_cannot_be_made_up_or_changed(client: Any, tokens: Tokens) -> None:
    log_in(client, tokens.viewer)
    session = client.cookies["edgecnn-session"]
    client.cookies.clear()
    role, expiry, nonce, signature = session.split(".")
    for forged in (
        f"operator.{expiry}.{nonce}.{signature}", f"{role}.{int(expiry) + 1}.{nonce}.{signature}",
        f"{role}.{expiry}.{nonce}.", f"{role}.{expiry}.{nonce}.{signature}x", "operator...", "",
        session.replace("viewer", "admin"), f"{role}.{expiry}.{nonce}.{signature[:-2]}",
    ):  # fmt: skip
        cookie = {"Cookie": f"edgecnn-session={forged}"}
        assert client.get("api/status", headers=cookie).status_code == 401, forged
    good = {"Cookie": f"a=b; edgecnn-session={session}"}
    assert client.get("api/status", headers=good).json()["role"] == "viewer"


def test_sessions_end_with_time_and_with_the_token() -> None:
    tokens, now = Tokens("v" * 30, "o" * 30), [1000.0]
    authenticator = Authenticator(tokens, lambda: now[0])
    session = authenticator.start_session("operator")
    first = authenticator.identify("", session)
    assert first is not None
    assert (first.role, first.by, first.renew) == ("operator", "session", False)
    now[0] += 2 * 24 * 3600
    later = authenticator.identify("", session)
    assert later is not None
    assert later.renew
    rotated = Authenticator(Tokens("v" * 30, "n" * 30), lambda: now[0])
    assert rotated.identify("", session) is None
    now[0] += SESSION_SECONDS
    assert authenticator.identify("", session) is None


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Edgecnn": "1", "Sec-Fetch-Site": "cross-site"},
        {"X-Edgecnn": "1", "Sec-Fetch-Site": "same-site"},
        {"X-Edgecnn": "1", "Origin": "http://6.6.6.6"},
        {"X-Edgecnn": "1", "Origin": "http://127.0.0.1:1"},
        {"X-Edgecnn": "1", "Origin": "null"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/x-www-form-urlencoded", "Origin": "https://evil.example"},
    ],
)
def test_a_foreign_page_changes_nothing_with_a_session(
    client: Any, tokens: Tokens, operations: FakeOperations, headers: Headers
) -> None:
    log_in(client, tokens.operator)
    answer = client.post(CHANGE, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (403, "application/problem+json")
    assert operations.cameras()[0].state == "live"


def test_its_own_page_does(client: Any, tokens: Tokens, operations: FakeOperations) -> None:
    log_in(client, tokens.operator)
    own = {"X-Edgecnn": "1", "Origin": str(client.base_url).rstrip("/")}
    assert client.post(CHANGE, headers=own | {"Sec-Fetch-Site": "same-origin"}).status_code == 204
    assert operations.cameras()[0].state == "paused"


def test_a_login_from_a_foreign_page_is_refused(client: Any, tokens: Tokens) -> None:
    answer = log_in(client, tokens.viewer, Origin="https://evil.example")
    assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)


def test_without_authentication_a_foreign_page_still_changes_nothing(
    serve: "Callable[..., WebServer]", operations: FakeOperations
) -> None:
    address = serve(auth=False).address
    assert httpx.get(f"{address}api/status").json()["role"] == "operator"
    assert httpx.post(address + CHANGE).status_code == 403
    assert httpx.post(address + CHANGE, headers={"X-Edgecnn": "1"}).status_code == 204
    assert operations.cameras()[0].state == "paused"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200), ("127.0.0.1:8090", 200), ("[::1]:8090", 200), ("localhost", 200),
        ("LOCALHOST.:1", 200), ("10.1.2.3", 200), ("cam.example.org", 200),
        ("evil.example", 421), ("localhost.evil.example", 421), ("a@localhost", 421),
        ("", 421), ("localhost:x", 421), ("localhost/evil", 421), ("[::1", 421),
    ],
)  # fmt: skip
def test_a_name_that_is_not_this_machines_is_refused(
    serve: "Callable[..., WebServer]", host: str, status: int
) -> None:
    server = serve(hosts=("cam.example.org",))
    assert httpx.get(f"{server.address}healthz", headers={"Host": host}).status_code == status


def test_many_wrong_tokens_are_slowed_down_and_a_right_one_is_not(
    client: Any, viewer: Headers
) -> None:
    answers = [client.get("api/status", headers={"Authorization": "Bearer x"}) for _ in range(12)]
    assert [answer.status_code for answer in answers] == [401] * 8 + [429] * 4
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert client.get("api/status", headers=viewer).status_code == 200


def test_a_throttle_forgets_with_time_and_remembers_few_addresses() -> None:
    now = [0.0]
    throttle = Throttle(2, 10.0, lambda: now[0])
    assert [throttle.wait("a") for _ in range(4)] == [0.0, 0.0, 10.0, 10.0]
    assert throttle.wait("b") == 0.0
    now[0] += 10.0
    assert [throttle.wait("a") for _ in range(2)] == [0.0, 10.0]
    for number in range(3 * Throttle.ADDRESSES):
        throttle.wait(str(number))
    assert len(throttle._levels) == Throttle.ADDRESSES


def test_too_many_requests_are_slowed_down(
    serve: "Callable[..., WebServer]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "BURST", 5)
    monkeypatch.setattr(guard, "EVERY", 3600.0)
    address = f"{serve().address}login"
    assert [httpx.get(address).status_code for _ in range(7)] == [200] * 5 + [429] * 2


def test_every_answer_forbids_what_pages_do_not_need(client: Any) -> None:
    for path in ("", "login", "healthz", "api/cameras", "static/style.css", "nowhere"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert "server" not in headers


def test_pages_load_only_their_own_files_and_have_no_scripts_inside(client: Any) -> None:
    from edgecnn_runtime.web.pages import static_files

    files = static_files()
    assert {"index.html", "login.html", "api.html", "app.js", "style.css"} <= set(files)
    for name, file in files.items():
        text = file.content.decode()
        assert client.get(f"static/{name}").text == text
        elsewhere = re.findall(r"(?:https?:)?//[\w.-]+", text)
        assert set(elsewhere) <= {"http://www.w3.org"}, name
        assert "innerHTML" not in text
        if name.endswith(".html"):
            assert not re.search(r"<script(?![^>]+src=)|\son\w+=|\sstyle=|<style", text), name
            for target in re.findall(r'(?:src|href)="(static/[^"]+)"', text):
                assert target.removeprefix("static/") in files
        for module in re.findall(r'from "\./([^"]+)"', text):
            assert module in files


def test_a_browser_that_has_a_file_is_not_sent_it_again(client: Any) -> None:
    first = client.get("static/app.js")
    again = client.get("static/app.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "path", ["static/../tokens.py", "static/%2e%2e%2ftokens.py", "static/", "static/x"]
)
def test_nothing_else_is_served(client: Any, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


@pytest.mark.parametrize("strips", [True, False], ids=["stripped by the proxy", "passed on"])
def test_it_is_served_under_a_path(
    serve: "Callable[..., WebServer]", tokens: Tokens, strips: bool
) -> None:
    server = serve(path="/site/cams")
    prefix = server.address if strips else f"{server.address}site/cams/"
    assert httpx.get(f"{prefix}healthz").status_code == 200
    origin = server.address.rstrip("/")
    answer = httpx.post(f"{prefix}login", data={"token": tokens.viewer}, headers={"Origin": origin})
    assert answer.status_code == 303
    morsel = SimpleCookie(answer.headers["set-cookie"])["edgecnn-session"]
    assert morsel["path"] == "/site/cams/"
    cookie = {"Cookie": f"edgecnn-session={morsel.value}"}
    assert "static/app.js" in httpx.get(prefix, headers=cookie).text
    assert httpx.get(f"{prefix}static/app.js").status_code == 200


def test_a_page_under_a_path_needs_its_slash(serve: "Callable[..., WebServer]") -> None:
    answer = httpx.get(f"{serve(path='/cams').address}cams")
    assert (answer.status_code, answer.headers["location"]) == (308, "/cams/")


def test_a_proxy_is_believed_only_if_it_is_named(
    serve: "Callable[..., WebServer]", tokens: Tokens
) -> None:
    def cookie(server: "WebServer") -> str:
        headers = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "10.0.0.9", "X-Edgecnn": "1"}
        answer = httpx.post(
            f"{server.address}login", data={"token": tokens.viewer}, headers=headers
        )
        return str(answer.headers["set-cookie"])

    assert "Secure" not in cookie(serve())
    assert "Secure" in cookie(serve(proxies=("127.0.0.1",)))
