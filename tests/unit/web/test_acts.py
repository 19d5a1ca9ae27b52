"""What a person does from the page: shown first, done once, with the person's own key, and noted with the name."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from heartwire import keys
from heartwire.errors import BadConfig, OutcomeUnknown, StorageProblem
from heartwire.monitor import needs, settings
from heartwire.monitor.settings import OperatorSettings, WebSettings
from heartwire.web import acts
from heartwire_protocol import codes, reasons
from tests.unit.web.room import HOSTILE, Room

PROXY = "192.0.2.7"
APPROVAL = {"request": 4, "left_s": 50}


@pytest.fixture
def acting(room: Room, tmp_path: Path) -> Callable[[str], TestClient]:
    """Return a browser of a person: anna may act on rack-1 alone, carla on all, nobody else on any."""
    made = keys.write_new(tmp_path / "anna.keys", ("operate",))
    keys.write_new(tmp_path / "carla.keys", ("operate",))
    for board in room.boards:
        board.keys = {codes.RIGHT_OPERATE: made["operate"]}
    room.web = WebSettings(
        proxy_header="X-User", proxy_address=PROXY,
        operator=(
            OperatorSettings(name="anna", key_file=tmp_path / "anna.keys", boards=("rack-1",)),
            OperatorSettings(name="carla", key_file=tmp_path / "carla.keys"),
        ),
    )  # fmt: skip
    app = room.app()
    return lambda name: TestClient(
        app, base_url="http://localhost", headers={"x-user": name}, client=(PROXY, 1), follow_redirects=False
    )


def ask_for_approval(room: Room) -> None:
    room.change(0, "b", verdict="dead", age_ms=12_000)
    room.change(0, phase="approval", target="b", successor="a", approval=dict(APPROVAL), mode="approve")


def fields_of(page: httpx2.Response) -> dict[str, str]:
    """Return what a form on a page would send."""
    return dict(re.findall(r'<input type="hidden" name="([a-z]+)" value="([^"]*)">', page.text))


def act(client: TestClient, path: str, **changes: str) -> httpx2.Response:
    """Do what an address says, as a browser does: look, then send the form."""
    page = client.get(path)
    assert page.status_code == 200, page.text
    return client.post(path.partition("?")[0], data={**fields_of(page), **changes})


def asked(room: Room, rack: int = 0) -> list[dict[str, Any]]:
    """Return what the board was asked to do."""
    return [body for body in room.boards[rack].asked if body["op"] in acts.WHAT]


def notes(room: Room) -> list[tuple[str, str]]:
    return [(row["kind"], row["words"]) for row in room.source.reader.observations()]


@pytest.mark.parametrize(
    ("path", "op", "words"),
    [
        ("approve?request=4", {"op": "approve", "request": 4}, "request 4 approved"),
        ("deny?request=4", {"op": "deny", "request": 4}, "request 4 denied"),
    ],
)
def test_an_approval_is_answered(
    acting: Callable[[str], TestClient], room: Room, path: str, op: dict[str, Any], words: str
) -> None:
    ask_for_approval(room)
    client = acting("anna")
    assert 'href="/rack/rack-1/act/approve?request=4"' in client.get("/").text
    shown = client.get(f"/rack/rack-1/act/{path}")
    assert "fence b (beta), then promote a (alpha)" in shown.text
    assert "50s are left" in shown.text
    assert "b (beta) is active and dead, last heard 12s ago, power on." in shown.text
    assert asked(room) == []
    done = act(client, f"/rack/rack-1/act/{path}")
    assert (done.status_code, words in done.text) == (200, True)
    assert [{name: body[name] for name in op} for body in asked(room)] == [op]
    command = path.replace("?request=", " ")
    assert notes(room) == [
        ("page_asked", f"anna asks for `{command}` from the page"),
        ("page_done", f"anna, from the page: {words}"),
    ]


@pytest.mark.parametrize(
    ("path", "op", "words"),
    [
        ("maintenance?node=a&span=30m", {"node": "a", "seconds": 1800}, "a (alpha): maintenance for 30m"),
        ("maintenance?node=board&span=2h", {"node": None, "seconds": 7200}, "the board: maintenance for 2h"),
        ("maintenance?node=b&span=off", {"node": "b", "seconds": 0}, "b (beta): maintenance is over"),
        ("clear?node=a", {"node": "a"}, "a (alpha) is cleared"),
    ],
)
def test_maintenance_and_clear(
    acting: Callable[[str], TestClient], room: Room, path: str, op: dict[str, Any], words: str
) -> None:
    done = act(acting("anna"), f"/rack/rack-1/act/{path}")
    assert words in done.text
    (body,) = asked(room)
    assert {name: body[name] for name in op} == op
    assert room.boards[0].rights[-1] == codes.RIGHT_OPERATE
    assert room.channel.closed


def test_the_form_of_a_rack_leads_to_what_will_happen(acting: Callable[[str], TestClient], room: Room) -> None:
    room.change(0, "b", maintenance_s=60)
    page = acting("anna").get("/rack/rack-1").text
    assert 'href="/rack/rack-1/act/clear?node=a"' in page
    assert 'href="/rack/rack-1/act/maintenance?node=b&amp;span=off"' in page
    assert 'action="/rack/rack-1/act/maintenance" method="get"' in page
    assert asked(room) == []


def test_only_who_may_acts(acting: Callable[[str], TestClient], room: Room) -> None:
    for name, rack in (("bert", "rack-1"), ("anna", "rack-2")):
        client = acting(name)
        page = client.get(f"/rack/{rack}/act/clear?node=a")
        assert page.status_code == 403
        assert f"{name} may read, and not act on {rack}" in page.text
        assert f"{name} may read, and not act on {rack}" in client.get(f"/rack/{rack}").text
    assert acting("anna").get("/rack/rack-9/act/clear?node=a").status_code == 404
    assert notes(room) == []


def test_the_key_of_another_board_does_nothing_and_that_is_noted(
    acting: Callable[[str], TestClient], room: Room
) -> None:
    done = act(acting("carla"), "/rack/rack-2/act/clear?node=a")
    assert done.status_code == 409
    assert notes(room)[-1][0] == "page_refused"
    assert notes(room)[-1][1].startswith("carla, from the page: ")


def test_what_was_not_shown_is_not_done(acting: Callable[[str], TestClient], room: Room) -> None:
    anna = acting("anna")
    path = "/rack/rack-1/act/maintenance"
    fields = fields_of(anna.get(f"{path}?node=a&span=30m"))
    for changes in ({"node": "b"}, {"span": "31m"}, {"once": "x"}, {"once": ""}):
        assert anna.post(path, data={**fields, **changes}).status_code == 400
        fields = fields_of(anna.get(f"{path}?node=a&span=30m"))
    assert anna.post("/rack/rack-1/act/clear", data=fields).status_code == 400
    assert asked(room) == []
    fields = fields_of(anna.get(f"{path}?node=a&span=30m"))
    assert anna.post(path, data=fields).status_code == 200
    assert anna.post(path, data=fields).status_code == 400, "a form counts once"
    assert len(asked(room)) == 1
    fields = fields_of(anna.get(f"{path}?node=a&span=30m"))
    room.clock.now_s += acts.SHOWN_S + 1
    assert anna.post(path, data=fields).status_code == 400, "shown too long ago"
    assert len(asked(room)) == 1


@pytest.mark.parametrize(
    "headers", [{"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}, {"x-user": "carla"}]
)
def test_a_form_of_another_page_or_person_does_nothing(
    acting: Callable[[str], TestClient], room: Room, headers: dict[str, str]
) -> None:
    anna = acting("anna")
    fields = fields_of(anna.get("/rack/rack-1/act/clear?node=a"))
    assert anna.post("/rack/rack-1/act/clear", data=fields, headers=headers).status_code == 403
    assert anna.post("/rack/rack-1/act/clear", data={**fields, "token": "0" * 64}).status_code == 403
    assert asked(room) == []


@pytest.mark.parametrize(
    "path",
    [
        "fence?node=a", "switchover?node=a", "mode?node=a", "clear?node=board", "clear?node=x", "clear", "approve",
        "approve?request=0", "approve?request=-1", "approve?request=x", "approve?request=99999999999",
        "maintenance?node=a", "maintenance?node=a&span=soon", "maintenance?node=a&span=0s",
        "maintenance?node=a&span=99999999w", "approve?request=99999999999999999999999999999999999999999999",
        "approve?request=\N{SUPERSCRIPT TWO}",
    ],
)  # fmt: skip
def test_nothing_else_is_done(acting: Callable[[str], TestClient], room: Room, path: str) -> None:
    client = acting("anna")
    assert client.get(f"/rack/rack-1/act/{path}").status_code == 400
    fields = fields_of(client.get("/rack/rack-1/act/clear?node=a"))
    what, _, query = path.partition("?")
    extra = dict(part.split("=") for part in query.split("&") if part)
    answer = client.post(f"/rack/rack-1/act/{what}", data={**fields, "node": "", "span": "", "request": "", **extra})
    assert answer.status_code == 400
    assert asked(room) == []
    assert notes(room) == []


def test_an_approval_that_does_not_stand_any_more(acting: Callable[[str], TestClient], room: Room) -> None:
    client = acting("anna")
    page = client.get("/rack/rack-1/act/approve?request=4")
    assert (page.status_code, "asks for no approval" in page.text) == (409, True)
    ask_for_approval(room)
    page = client.get("/rack/rack-1/act/approve?request=3")
    assert (page.status_code, "request 4 does" in page.text) == (409, True)
    fields = fields_of(client.get("/rack/rack-1/act/approve?request=4"))
    room.boards[0].status["approval"] = {"request": 5, "left_s": 9}
    done = client.post("/rack/rack-1/act/approve", data=fields)
    assert (done.status_code, "request 5 does" in done.text) == (409, True)
    assert asked(room) == []


def test_what_the_board_refuses_is_shown_with_the_next_step(acting: Callable[[str], TestClient], room: Room) -> None:
    room.boards[0].script["clear"] = {"error": "refused", "reason": reasons.NAMES[reasons.NOT_QUARANTINED]}
    done = act(acting("anna"), "/rack/rack-1/act/clear?node=a")
    assert done.status_code == 409
    assert "there is nothing to clear" in done.text
    assert "page_refused" in dict(notes(room))


def test_nobody_knows_whether_it_happened(acting: Callable[[str], TestClient], room: Room) -> None:
    ask_for_approval(room)
    room.boards[0].silent_for = ["approve"]
    done = act(acting("anna"), "/rack/rack-1/act/approve?request=4")
    assert done.status_code == 409
    assert OutcomeUnknown.default_next.partition(":")[0] in done.text
    assert len(asked(room)) == 1, "it is never repeated"


def test_a_driver_that_raises_what_it_likes(
    acting: Callable[[str], TestClient], room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = acting("anna")
    fields = fields_of(client.get("/rack/rack-1/act/clear?node=a"))
    monkeypatch.setattr(acts, "_do", lambda board, what: 1 / 0)
    done = client.post("/rack/rack-1/act/clear", data=fields)
    assert "nobody knows whether it happened" in done.text
    assert notes(room)[-1][0] == "page_refused"


def test_what_cannot_be_noted_is_not_done(
    acting: Callable[[str], TestClient], room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = acting("anna")
    fields = fields_of(client.get("/rack/rack-1/act/clear?node=a"))

    def full(*_: object) -> int:
        raise StorageProblem("monitor.db: disk full", "make room")

    with monkeypatch.context() as patched:
        patched.setattr(room.archive, "observe", full)
        answer = client.post("/rack/rack-1/act/clear", data=fields)
    assert answer.status_code == 503
    assert "make room" in answer.text
    assert asked(room) == []


def test_a_board_that_is_not_looked_at_is_not_acted_on(acting: Callable[[str], TestClient], room: Room) -> None:
    room.clock.now_s += 11
    page = acting("anna").get("/rack/rack-1/act/clear?node=a")
    assert (page.status_code, "not looked at right now" in page.text) == (409, True)
    room.sources[0].down = True
    room.collect()
    assert acting("anna").get("/rack/rack-1/act/clear?node=a").status_code == 409


def test_names_of_a_board_are_not_markup_here_either(acting: Callable[[str], TestClient], room: Room) -> None:
    room.change(0, "a", name=HOSTILE)
    for path in ("/rack/rack-1/act/clear?node=a", "/rack/rack-1"):
        assert "<script>alert" not in acting("anna").get(path).text


def test_without_operators_nobody_acts(client: TestClient, room: Room) -> None:
    page = client.get("/rack/rack-1")
    assert "Do something" not in page.text
    assert client.get("/rack/rack-1/act/clear?node=a").status_code == 403
    assert client.post("/rack/rack-1/act/clear", data={"node": "a"}).status_code == 403
    ask_for_approval(room)
    assert "/act/" not in client.get("/").text


def test_on_open_loopback_acting_asks_for_a_login(room: Room, tmp_path: Path) -> None:
    keys.write_new(tmp_path / "anna.keys", ("operate",))
    operator = OperatorSettings(name="anna", key_file=tmp_path / "anna.keys")
    room.web = WebSettings(password_file=tmp_path / "p", operator=(operator,))
    client = TestClient(room.app(), base_url="http://localhost", follow_redirects=False)
    assert "Log in</a> to put something into maintenance" in client.get("/rack/rack-1").text
    page = client.get("/rack/rack-1/act/clear?node=a")
    assert page.headers["location"] == "/login?next=%2Frack%2Frack-1%2Fact%2Fclear%3Fnode%3Da"
    assert client.post("/rack/rack-1/act/clear", data={"node": "a"}).status_code == 403


def test_settings_of_operators_are_checked(tmp_path: Path) -> None:
    board = {"name": "x", "port": "y"}
    operator = {"name": "anna", "key_file": "anna.keys", "boards": ["z"]}
    with pytest.raises(BadConfig) as caught:
        settings.settings_from({"board": [board], "web": {"operator": [operator]}})
    assert any("web.operator: nobody can say who he is" in problem for problem in caught.value.problems)
    assert any("no board is called 'z'" in problem for problem in caught.value.problems)
    web = {"proxy_header": "X-User", "proxy_address": PROXY, "operator": [{**operator, "boards": []}]}
    found = settings.settings_from({"board": [board], "web": web}, tmp_path)
    assert "no such key file" in needs.check_secrets(found)[0]
    keys.write_new(tmp_path / "anna.keys", ("view",))
    assert "holds no operate key" in needs.check_secrets(found)[0]
