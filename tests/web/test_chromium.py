"""The page in a real Chromium: looks, live update, login and acts, without JavaScript, on a phone, in print, by axe.

Pictures of every page are left in build/web for a person to look at.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from heartwire import keys
from heartwire.monitor.settings import OperatorSettings, WebSettings
from heartwire.web import passwords
from heartwire_protocol import codes
from tests import golden
from tests.unit.web.room import Room
from tests.web.browser import CHROMIUM, browser, served

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

if CHROMIUM is None:
    pytest.skip("not installed: chromium", allow_module_level=True)
if importlib.util.find_spec("playwright") is None:
    pytest.skip("not installed: playwright", allow_module_level=True)

PICTURES = golden.FOLDER.parent.parent / "build" / "web"
PASSWORD = "correct horse battery"
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
PAGES = {
    "overview": "/", "rack": "/rack/rack-1", "failover": "/rack/rack-1/failover", "journal": "/journal",
    "nonsense": "/journal?since=soon", "why": "/why/9", "notifications": "/notifications", "notes": "/notes",
    "login": "/login", "act": "/rack/rack-1/act/maintenance?node=a&span=30m", "error": "/nothing",
}  # fmt: skip
PATIENCE_MS = 60_000


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as made:
        yield made


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    """Return four racks: well, asking for approval, with a dead node, and one that is not reached."""
    folder = tmp_path_factory.mktemp("room")
    made = keys.write_new(folder / "anna.keys", ("operate",))
    passwords.put(folder / "passwords", "anna", PASSWORD)
    web = WebSettings(
        password_file=folder / "passwords", operator=(OperatorSettings(name="anna", key_file=folder / "anna.keys"),)
    )
    with Room(folder, 4, web=web) as found:
        for board in found.boards:
            board.keys = {codes.RIGHT_OPERATE: made["operate"]}
        found.change(0, "a", role="standby")
        found.beat(60, lambda at, node: 3400 if at == 30 and node == "b" else 200 + (at * 37 + ord(node[0])) % 500)
        found.change(1, "b", verdict="dead", age_ms=12_000)
        found.change(1, phase="approval", target="b", successor="a", mode="approve")
        found.change(1, approval={"request": 4, "left_s": 50})
        found.change(2, "b", verdict="dead", age_ms=15_000, power="off", relay=1, fence="proven", role="quarantined")
        found.change(2, active=None, alarm=1)
        found.note("reset", "the board has restarted: boot 4 after 3")
        found.note("lost", "2 records are missing without cause: 17 to 18", 1)
        first = found.outbox.bundle(
            "mail", [found.outbox.waiting("mail")[0].id], [], "warning", "rack-2: lost", "words"
        )
        assert first is not None
        found.sources[3].down = True
        found.collect()
        yield found


@pytest.fixture(scope="module")
def address(room: Room) -> Iterator[str]:
    with served(room) as found:
        yield found


def log_in(page: Page, address: str) -> None:
    page.goto(f"{address}/login")
    page.get_by_label("Name").fill("anna")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{address}/")


@pytest.fixture
def context(chromium: Browser, room: Room) -> Iterator[BrowserContext]:
    made = chromium.new_context(viewport=DESKTOP)  # type: ignore[arg-type]
    made.set_default_timeout(PATIENCE_MS)
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext, address: str) -> Iterator[Page]:
    """Return a page that fails the test for anything it asks of another host, or complains about."""
    wrong: list[str] = []
    made = context.new_page()
    made.on("request", lambda request: None if request.url.startswith(address) else wrong.append(request.url))
    made.on("pageerror", lambda error: wrong.append(str(error)))
    made.on("console", lambda message: wrong.append(message.text) if "Content Security" in message.text else None)
    yield made
    assert wrong == []


def picture(page: Page, name: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=str(PICTURES / f"{name}.png"), full_page=True)


def overflow(page: Page) -> list[str]:
    """Return what is wider than the page without a scroll bar of its own."""
    found: list[str] = page.evaluate(
        """() => {
            const width = document.documentElement.clientWidth;
            if (document.documentElement.scrollWidth <= width) return [];
            return [...document.querySelectorAll("body *")].filter(
                (one) => one.getBoundingClientRect().right > width + 1 && !one.closest(".wide, .picture, .hidden")
            ).map((one) => one.outerHTML.slice(0, 80)).concat(["the page itself"]);
        }"""
    )
    return found


def violations(page: Page) -> list[tuple[str, Any]]:
    """Return what axe finds wrong."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response
    return [(row["id"], [node["html"][:160] for node in row["nodes"]]) for row in found["violations"]]


@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_and_nothing_is_cut_off(page: Page, address: str, name: str) -> None:
    if name != "login":
        log_in(page, address)
    for size, viewport in (("desktop", DESKTOP), ("phone", PHONE)):
        page.set_viewport_size(viewport)  # type: ignore[arg-type]
        page.goto(address + PAGES[name])
        picture(page, f"{name}-{size}")
        assert overflow(page) == [], size
        assert violations(page) == [], size


@pytest.mark.parametrize("name", ["overview", "rack", "failover", "journal", "notifications"])
def test_in_print_there_is_the_content_and_nothing_to_press(page: Page, address: str, name: str) -> None:
    log_in(page, address)
    page.goto(address + PAGES[name])
    page.emulate_media(media="print")
    assert not page.get_by_role("navigation").is_visible()
    assert page.locator("button:visible, select:visible").count() == 0
    assert page.get_by_role("heading", level=1).is_visible()
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.pdf(path=str(PICTURES / f"{name}-print.pdf"), format="A4", print_background=False)


def test_what_a_board_says_next_is_shown_without_a_reload(page: Page, address: str, room: Room) -> None:
    page.goto(address)
    page.get_by_text("live", exact=True).wait_for()
    page.evaluate("window.kept = 1")
    card = page.locator("#card-rack-1")
    card.get_by_text("auto", exact=True).wait_for()
    try:
        room.change(0, mode="observe")
        card.get_by_text("observe", exact=True).wait_for()
        page.locator("#card-rack-1.attention").wait_for()
    finally:
        room.change(0, mode="auto")
    page.locator("#card-rack-1.well").wait_for()
    assert page.evaluate("window.kept") == 1
    page.goto(f"{address}/rack/rack-1")
    page.get_by_text("live", exact=True).wait_for()
    before = page.locator("[data-part=chart] svg").get_attribute("aria-label")
    room.beat(1, lambda at, node: 2900)
    page.wait_for_function("(said) => document.querySelector('[data-part=chart] svg').ariaLabel !== said", arg=before)


def test_without_javascript_all_but_the_live_update_works(chromium: Browser, address: str) -> None:
    context = chromium.new_context(java_script_enabled=False)
    context.set_default_timeout(PATIENCE_MS)
    try:
        page = context.new_page()
        page.goto(address)
        page.get_by_role("link", name="rack-1", exact=True).first.click()
        page.wait_for_url("**/rack/rack-1")
        page.get_by_role("link", name="The whole journal of rack-1").click()
        page.get_by_label("This and worse").select_option("alarm")
        page.get_by_role("button", name="Show").click()
        page.wait_for_url("**/journal?**severity=alarm**")
        assert page.locator("tbody tr").count() == 3
        page.get_by_role("link", name="why record 9 of rack-1").click()
        page.get_by_text("What led to it").wait_for()
        log_in(page, address)
        page.get_by_role("button", name="Log out").click()
        page.wait_for_url("**/login")
    finally:
        context.close()


def test_a_person_logs_in_looks_acts_and_leaves(page: Page, address: str, room: Room) -> None:
    page.goto(f"{address}/rack/rack-2")
    page.get_by_role("link", name="Answer request 4").click()
    page.wait_for_url("**/login?next=**")
    page.get_by_label("Name").fill("anna")
    page.get_by_label("Password").fill("wrong horse battery")
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("alert").wait_for()
    page.get_by_label("Name").fill("anna")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/rack/rack-2/act/approve?request=4")
    page.get_by_text("The board asks whether it may fence b (beta), then promote a (alpha)").wait_for()
    picture(page, "approve-desktop")
    assert [body for body in room.boards[1].asked if body["op"] == "approve"] == []
    page.get_by_role("button", name="Approve request 4").click()
    page.get_by_text("request 4 approved").wait_for()
    picture(page, "approved-desktop")
    assert violations(page) == []
    assert [body["request"] for body in room.boards[1].asked if body["op"] == "approve"] == [4]
    page.goto(f"{address}/rack/rack-1")
    page.get_by_label("for", exact=True).fill("45m")
    page.get_by_role("button", name="Look at what will happen").click()
    page.get_by_text("No automatic action is taken on a (alpha) for 45m").wait_for()
    page.get_by_role("link", name="Do nothing").click()
    page.wait_for_url("**/rack/rack-1")
    page.goto(f"{address}/notes")
    page.get_by_text("anna, from the page: request 4 approved").wait_for()
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/login")
    page.goto(f"{address}/rack/rack-1")
    assert page.get_by_role("link", name="Log in", exact=True).count() == 2


def test_by_keyboard_one_gets_past_the_head(page: Page, address: str) -> None:
    page.goto(address)
    page.keyboard.press("Tab")
    link = page.get_by_role("link", name="Skip to the content")
    assert link.evaluate("(one) => one === document.activeElement && one.getBoundingClientRect().left >= 0")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
