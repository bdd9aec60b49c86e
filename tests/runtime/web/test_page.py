"""The pages in a real browser, as a person sees and uses them."""

import base64
import shutil
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import msgspec
import numpy as np
import pytest

pytest.importorskip("uvicorn", reason="needs the serve extra")
pytest.importorskip("playwright", reason="needs the dev extra")
from playwright.sync_api import sync_playwright

from edgecnn_runtime.types import Event
from edgecnn_runtime.web.fake import FakeOperations
from edgecnn_runtime.web.operations import CameraAreas, LiveView

if TYPE_CHECKING:
    from edgecnn_runtime.web.server import WebServer
    from edgecnn_runtime.web.tokens import Tokens

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
WAIT = 30_000
"""Milliseconds until something hangs."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_playwright() as start:
        chromium = start.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Any, server: "WebServer") -> Iterator[Callable[..., Any]]:
    """Opens pages of the server: ``open_page("login", color_scheme="dark")``; none may complain."""
    contexts, complaints = [], []

    def start(path: str = "", **options: Any) -> Any:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda message: message.type == "error" and complaints.append(message.text),
        )
        page.goto(server.address + path)
        return page

    yield start
    for context in contexts:
        context.close()
    assert [words for words in complaints if "401" not in words and "412" not in words] == []


@pytest.fixture
def logged_in(open_page: Callable[..., Any], tokens: "Tokens") -> Callable[..., Any]:
    """Opens the page of the cameras, as an operator or not: ``logged_in(role="viewer")``."""

    def start(role: str = "operator", **options: Any) -> Any:
        page = open_page(f"login#token={getattr(tokens, role)}", **options)
        page.wait_for_selector(".grid .tile")
        return page

    return start


class Player:
    """Shows a camera's frames, as fast as a camera does, until it is stopped."""

    def __init__(self, operations: FakeOperations, view: Callable, picture: Callable) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._play, args=(operations, view, picture))
        self._thread.start()

    def _play(self, operations: FakeOperations, view: Callable, picture: Callable) -> None:
        index = 0
        while not self._stop.wait(0.08):
            index += 1
            operations.show("gate", view(index, picture(index)))

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture
def playing(
    operations: FakeOperations, view: Callable[..., LiveView], make_squares: Callable
) -> Iterator[Player]:
    """The camera "gate" shows a counter, and a box whose place says the same."""
    player = Player(operations, view, make_squares)
    yield player
    player.stop()


CANVAS = """() => {
  const canvas = document.querySelector('article[aria-label=gate] canvas');
  if (!canvas.dataset.index) return null;
  return { index: Number(canvas.dataset.index), picture: canvas.toDataURL('image/png') };
}"""


def canvas_of(page: Any) -> tuple[int, np.ndarray]:
    """What the canvas says it shows, and what it shows."""
    page.wait_for_function(CANVAS)
    shot = page.evaluate(CANVAS)
    data = base64.b64decode(shot["picture"].partition(",")[2])
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return shot["index"], pixels


def test_a_person_logs_in_and_out(open_page: Callable[..., Any], tokens: "Tokens") -> None:
    page = open_page()
    page.get_by_label("Token").fill("not this one, though it is long enough")
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("alert").wait_for()
    page.get_by_label("Token").fill(tokens.viewer)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_selector(".grid .tile")
    assert page.context.cookies()[0]["httpOnly"]
    assert "edgecnn-session" not in page.evaluate("document.cookie")
    page.get_by_role("button", name="Log out").click()
    page.get_by_label("Token").wait_for()


def test_boxes_lie_on_the_very_frame_they_belong_to(
    logged_in: Callable[..., Any], playing: Player, read_counter: Callable
) -> None:
    page = logged_in()
    seen = set()
    for _ in range(12):
        index, pixels = canvas_of(page)
        seen.add(index)
        width = pixels.shape[1]
        assert read_counter(cv2.resize(pixels, (320, 240), interpolation=cv2.INTER_AREA)) == index
        scale = width / 320
        left = round((40 * (index % 7) + 20) * scale)  # the middle of the box's lower edge
        edge = pixels[round(60 * scale) - 2 : round(60 * scale) + 3, left - 2 : left + 3]
        blue, green, red = np.max(edge.reshape(-1, 3), axis=0).astype(int)
        assert green > 190, "the color of the box"
        assert min(blue, red) < green
        page.wait_for_timeout(100)
    assert len(seen) > 3


def test_a_picture_that_is_not_of_now_does_not_look_like_it(
    logged_in: Callable[..., Any], playing: Player, operations: FakeOperations
) -> None:
    page = logged_in()
    canvas_of(page)
    playing.stop()
    page.get_by_text("No new picture").wait_for()
    assert page.locator("article[aria-label=gate] .stale").count() == 1
    operations.set_state("gate", "backing-off")
    page.get_by_text("No connection").wait_for()
    page.get_by_text("the camera is backing-off").wait_for()


def test_a_fresh_picture_is_not_called_connecting(
    logged_in: Callable[..., Any], operations: FakeOperations, view: Callable[..., LiveView],
    make_squares: Callable,
) -> None:  # fmt: skip
    """Pictures come at once, and what the camera's state is only every two seconds."""
    operations.set_state("gate", "connecting")
    page = logged_in()
    tile = page.locator("article[aria-label=gate]")
    tile.locator(".chip", has_text="connecting").wait_for()
    player = Player(operations, view, make_squares)
    try:
        tile.locator(".chip", has_text="live").wait_for()
        assert not tile.locator(".veil").is_visible()
        assert tile.locator(".stale").count() == 0
    finally:
        player.stop()
    operations.set_state("gate", "backing-off")  # which began after the last picture
    tile.get_by_text("No connection").wait_for()
    tile.locator(".chip", has_text="backing-off").wait_for()


def test_the_editor_says_where_no_picture_has_come(
    logged_in: Callable[..., Any], operations: FakeOperations, view: Callable[..., LiveView],
    make_squares: Callable,
) -> None:  # fmt: skip
    page = logged_in()
    page.get_by_role("link", name="gate", exact=True).click()
    page.get_by_role("button", name="Zones and lines").click()
    page.get_by_text("No picture has come yet").wait_for()
    page.get_by_role("button", name="+ Zone").click()
    page.get_by_role("button", name="Done").click()
    assert page.get_by_label("Name of the zone").input_value() == "zone-1"
    operations.show("gate", view(1, make_squares(1)))
    page.get_by_text("No picture has come yet").wait_for(state="detached")


def test_only_what_is_on_the_screen_is_asked_for(
    logged_in: Callable[..., Any], operations: FakeOperations, view: Callable[..., LiveView],
    make_squares: Callable,
) -> None:  # fmt: skip
    names = [f"camera-{number}" for number in range(10)]
    for name in names:
        operations.add_camera(name, {"source": name})
        operations.set_state(name, "live")
        operations.show(name, view(1, make_squares(1)))
    page = logged_in(viewport={"width": 390, "height": 600})
    last = page.locator(f"article[aria-label={names[-1]}] canvas")
    operations.show("gate", view(1, make_squares(1)))
    page.wait_for_selector("article[aria-label=gate] canvas[data-index]")
    assert last.get_attribute("data-index") is None
    last.scroll_into_view_if_needed()
    page.wait_for_selector(f"article[aria-label={names[-1]}] canvas[data-index]")
    assert page.locator("canvas[data-index]").count() < 12


def test_new_events_appear_by_themselves(
    logged_in: Callable[..., Any], operations: FakeOperations, event: Callable[..., Event],
    tmp_path: Path,
) -> None:  # fmt: skip
    cv2.imwrite(str(tmp_path / "crop.jpg"), np.full((40, 60, 3), 90, np.uint8))
    operations.commit(event(1, text="OLD 1"))
    page = logged_in()
    page.get_by_text("OLD 1").wait_for()
    markup = "<img src=x onerror=alert(1)>"
    operations.commit(event(2, text="NEW 2", evidence={"crop": "crop.jpg"}), event(3, text=markup))
    page.get_by_text("NEW 2").wait_for()
    assert page.locator(".feed .entry b").all_text_contents() == [markup, "NEW 2", "OLD 1"]
    page.get_by_text("NEW 2").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("row", name="Text NEW 2").wait_for()
    picture = dialog.get_by_role("img", name="NEW 2")
    assert picture.evaluate("(image) => image.decode().then(() => image.naturalWidth)") == 60
    page.keyboard.press("Escape")
    dialog.wait_for(state="detached")


def test_events_are_found(
    logged_in: Callable[..., Any], operations: FakeOperations, event: Callable[..., Event]
) -> None:
    operations.commit(*(event(number, camera=("gate", "yard")[number % 2]) for number in range(60)))
    page = logged_in()
    page.get_by_role("link", name="Events", exact=True).click()
    entries = page.locator(".wide .entry")
    page.get_by_role("button", name="Older events").wait_for()
    assert entries.count() == 40
    page.get_by_role("button", name="Older events").click()
    page.wait_for_function("() => document.querySelectorAll('.wide .entry').length === 60")
    page.get_by_label("Camera", exact=True).select_option("yard")
    page.get_by_label("Search", exact=True).fill("P-5")
    page.wait_for_function("() => document.querySelectorAll('.wide .entry').length === 6")
    assert entries.locator("b").all_text_contents() == [f"P-{n}" for n in (59, 57, 55, 53, 51, 5)]


def test_zones_and_lines_are_drawn_and_written(
    logged_in: Callable[..., Any], playing: Player, operations: FakeOperations
) -> None:
    operations.set_areas("gate", CameraAreas(zones={"old": ((0.7, 0.7), (0.9, 0.7), (0.9, 0.9))}))
    page = logged_in(viewport={"width": 1300, "height": 900})
    page.get_by_role("link", name="gate", exact=True).click()
    canvas_of(page)
    page.get_by_role("button", name="Zones and lines").click()
    page.get_by_role("button", name="Remove old").click()
    page.get_by_role("button", name="+ Zone").click()
    box = page.locator(".editor").bounding_box()

    def click(x: float, y: float) -> None:
        page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])

    for x, y in ((0.1, 0.2), (0.5, 0.2), (0.5, 0.6), (0.1, 0.2)):
        click(x, y)
    page.get_by_label("Name of the zone").fill("two words")
    page.get_by_role("button", name="Save").click()
    page.get_by_text("cannot be a name").wait_for()
    page.get_by_label("Name of the zone").fill("lane")
    page.get_by_role("button", name="+ Line").click()
    page.keyboard.press("Enter")  # one in the middle, to be moved by the keyboard
    page.get_by_role("button", name="Point 1 of line-1").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowUp")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("region", name="Figures").wait_for()
    areas = operations.areas("gate")
    assert set(areas.zones) == {"lane"}
    expected = ((0.1, 0.2), (0.5, 0.2), (0.5, 0.6))
    assert np.allclose(areas.zones["lane"], expected, atol=0.01)
    assert np.allclose(areas.lines["line-1"], ((0.255, 0.55), (0.75, 0.6)), atol=1e-6)
    page.get_by_role("button", name="Zones and lines").click()
    assert page.get_by_label("Name of the zone").input_value() == "lane"


def test_of_two_who_edit_nobody_loses_anything(
    logged_in: Callable[..., Any], operations: FakeOperations
) -> None:
    """The first one moves a zone and adds another; the second one adds one of the same name."""
    corner, middle = (((x, 0.1), (x + 0.2, 0.1), (x + 0.2, 0.4)) for x in (0.1, 0.5))
    operations.set_areas("gate", CameraAreas(zones={"old": corner, "gone": corner}))
    page = logged_in()
    page.get_by_role("link", name="gate", exact=True).click()
    page.get_by_role("button", name="Zones and lines").click()
    page.get_by_role("button", name="+ Zone").click()
    page.get_by_role("button", name="Done").click()
    page.get_by_label("Name of the zone").last.fill("new")
    operations.set_areas("gate", CameraAreas(zones={"old": middle, "new": middle}))
    page.get_by_role("button", name="Save").click()
    page.get_by_text("Somebody else has saved other areas").wait_for()
    assert operations.areas("gate").zones == {"old": middle, "new": middle}
    page.get_by_role("button", name="Save").click()
    page.get_by_role("region", name="Figures").wait_for()
    zones = operations.areas("gate").zones
    assert {"old": middle, "new-2": middle}.items() <= zones.items()
    assert len(zones["new"]) == 4
    assert "gone" not in zones


def test_zones_are_drawn_with_a_finger(
    logged_in: Callable[..., Any], playing: Player, operations: FakeOperations
) -> None:
    phone = {"is_mobile": True, "has_touch": True, "viewport": {"width": 390, "height": 844}}
    page = logged_in(**phone)
    page.get_by_role("link", name="gate", exact=True).tap()
    canvas_of(page)
    page.get_by_role("button", name="Zones and lines").tap()
    page.get_by_role("button", name="+ Zone").tap()
    box = page.locator(".editor").bounding_box()
    corners = ((0.2, 0.2), (0.8, 0.2), (0.8, 0.8), (0.2, 0.8))
    for x, y in corners:
        page.touchscreen.tap(box["x"] + x * box["width"], box["y"] + y * box["height"])
    page.get_by_role("button", name="Done").tap()
    page.get_by_role("button", name="Point 4 of zone-1").tap()
    page.get_by_role("button", name="Remove point").tap()
    page.get_by_role("button", name="Save").tap()
    page.get_by_role("region", name="Figures").wait_for()
    assert np.allclose(operations.areas("gate").zones["zone-1"], corners[:3], atol=0.02)


def test_a_viewer_sees_no_buttons_that_change_anything(logged_in: Callable[..., Any]) -> None:
    page = logged_in(role="viewer")
    page.get_by_role("link", name="gate", exact=True).click()
    page.get_by_role("link", name="Snapshot").wait_for()
    assert page.get_by_role("button", name="Zones and lines").count() == 0
    assert page.get_by_role("button", name="Pause").count() == 0


def test_a_camera_is_paused_and_resumed(
    logged_in: Callable[..., Any], operations: FakeOperations
) -> None:
    page = logged_in()
    page.get_by_role("link", name="gate", exact=True).click()
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Resume").wait_for()
    assert operations.cameras()[0].state == "paused"
    page.get_by_role("button", name="Resume").click()
    page.get_by_role("button", name="Pause").wait_for()


def test_a_camera_with_several_pipelines_shows_what_is_chosen(
    logged_in: Callable[..., Any], operations: FakeOperations, view: Callable[..., LiveView],
    make_squares: Callable,
) -> None:  # fmt: skip
    operations.pipelines = ["faces.yaml", "site/plates.yaml"]
    for index, pipeline in enumerate(operations.pipelines):
        shown = view(100 + index, make_squares(100 + index))
        operations.show("gate", msgspec.structs.replace(shown, pipeline=pipeline))
    page = logged_in()
    page.get_by_role("link", name="gate", exact=True).click()
    assert canvas_of(page)[0] == 100
    page.get_by_label("Pipeline").select_option("plates.yaml")
    page.wait_for_selector("article[aria-label=gate] canvas[data-index='101']")
    page.get_by_label("Pipeline").select_option("faces.yaml")
    page.wait_for_selector("article[aria-label=gate] canvas[data-index='100']")
    page.get_by_label("Pipeline").select_option("plates.yaml")
    page.wait_for_selector("article[aria-label=gate] canvas[data-index='101']")
    operations.pipelines = ["faces.yaml", "cars.yaml"]
    page.wait_for_selector("select option[value='cars.yaml']", state="attached")
    assert page.get_by_label("Pipeline").input_value() == "faces.yaml"
    page.wait_for_selector("article[aria-label=gate] canvas[data-index='100']")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1400])
def test_nothing_is_cut_off_and_every_control_has_a_name(
    logged_in: Callable[..., Any], playing: Player, operations: FakeOperations,
    event: Callable[..., Event], scheme: str, width: int,
) -> None:  # fmt: skip
    operations.commit(event(1, text="A LONG TEXT " * 8))
    phone = {"is_mobile": True, "has_touch": True} if width < 500 else {}
    page = logged_in(color_scheme=scheme, viewport={"width": width, "height": 844}, **phone)
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(251, 251, 249)" if scheme == "light" else "rgb(20, 23, 26)")
    for path in ("#/", "#/cameras/gate", "#/events", "#/events/" + f"{1:032x}"):
        page.goto(page.url.partition("#")[0] + path)
        page.wait_for_timeout(500)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        nameless = page.evaluate("""() => [...document.querySelectorAll('button, a, input, select')]
          .filter((each) => each.offsetParent && each.tabIndex >= 0)
          .filter((each) => !(each.ariaLabel || each.textContent.trim() || each.labels?.length
            || each.title)).map((each) => each.outerHTML)""")
        assert nameless == [], path


def test_the_page_of_the_api_shows_every_endpoint(logged_in: Callable[..., Any]) -> None:
    page = logged_in()
    page.get_by_role("link", name="API").click()
    page.get_by_text("/api/cameras/{camera}/areas").first.click()
    page.locator("details[open] pre", has_text="curl").wait_for()
    assert page.locator("details.endpoint").count() > 20


PARSE = """async ([bytes, sizes]) => {
  const { MessageParser } = await import('./static/stream.js');
  const parser = new MessageParser();
  const all = Uint8Array.from(atob(bytes), (each) => each.charCodeAt(0));
  const found = [];
  for (let start = 0, i = 0; start < all.length; start += sizes[i], i = (i + 1) % sizes.length) {
    for (const { header, picture } of parser.push(all.slice(start, start + sizes[i]))) {
      const whole = picture.every((each) => each === header.index);
      found.push([header.index, picture.length, whole]);
    }
  }
  return found;
}"""


def test_messages_are_read_whatever_pieces_they_come_in(logged_in: Callable[..., Any]) -> None:
    lengths = [0, 1, 5, 40_000, 300_000, 7, 600_000]
    stream = b""
    for index, length in enumerate(lengths):
        header = f'{{"index": {index}}}'.encode()
        stream += struct.pack("!dII", 1.0, len(header), length) + header + bytes([index]) * length
    page = logged_in()
    for sizes in ([len(stream)], [1 << 16], [1, 2, 3, 70_001], [15, 17, 100_000]):
        found = page.evaluate(PARSE, [base64.b64encode(stream).decode(), sizes])
        assert found == [[index, length, True] for index, length in enumerate(lengths)]
