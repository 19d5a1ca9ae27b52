"""The reading pages: what they show, what they escape, and what they say to nonsense."""

from __future__ import annotations

import re

import pytest
import sqlalchemy
from starlette.testclient import TestClient

from heartwire.errors import BadConfig, StorageProblem
from heartwire.monitor import schema, settings
from heartwire.monitor.query import Filter
from heartwire.monitor.settings import WebSettings
from heartwire.web import app, pages, racks
from heartwire_protocol import alarms
from tests.unit.web.room import HOSTILE, Room

PAGES = ("/", "/rack/rack-1", "/rack/rack-1/failover", "/journal", "/why/1", "/notifications", "/notes", "/nothing")


def text_of(html: str) -> str:
    """Return what a browser shows, roughly."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).replace(" .", ".")


def test_all_racks_at_a_glance(client: TestClient, room: Room) -> None:
    room.change(0, "a", role="standby")
    room.change(1, "b", verdict="dead", age_ms=12_000, power="off", relay=1)
    room.sources[2].down = True
    room.collect()
    page = client.get("/")
    words = text_of(page.text)
    assert page.status_code == 200
    for expected in (
        "not reached: 1",
        "needs attention: 1",
        "well: 1",
        "active b (beta)",
        "mode auto",
        "fake: connection",
    ):
        assert expected in words
    row = re.search(r"b beta.*?</tr>", page.text[page.text.index('id="card-rack-2"') :], re.S)
    assert row is not None
    assert "dead 12s 7.6s off cut" in text_of(row[0])


def test_alarms_stand_by_name(client: TestClient, room: Room) -> None:
    assert "Alarms:" not in client.get("/").text
    room.change(0, alarms=alarms.EPOCH_CLAIM | alarms.TWO_RUNNING)
    for path in ("/", "/rack/rack-1"):
        assert "Alarms: two running, epoch claim" in text_of(client.get(path).text)


def test_what_would_happen_now_is_what_plans_says(client: TestClient, room: Room) -> None:
    room.change(0, "a", role="standby")
    assert "What would happen now: b (beta), active: after 10 s of silence its power is cut" in text_of(
        client.get("/").text
    )
    assert len(racks.plans_of(room.source.view("rack-1"))) == 2
    room.source.view("rack-1").settings = "what.nobody.knows=1\n"
    assert racks.plans_of(room.source.view("rack-1")) == ()
    assert "Not known: it is worked out from the settings" in client.get("/rack/rack-1").text


def test_settings_are_read_again_only_when_they_change(room: Room) -> None:
    asked = []
    source = room.sources[0]
    real = source.settings
    source.settings = lambda: asked.append(1) or real()  # type: ignore[method-assign, func-returns-value]
    room.collect()
    room.collect()
    assert asked == []
    room.change(generation=9)
    room.collect()
    assert asked == [1]


def test_one_rack(client: TestClient, room: Room) -> None:
    words = text_of(client.get("/rack/rack-1").text)
    for expected in (
        "a (alpha): quarantined",
        "heartwire clear a : a (alpha) may take over again",
        "silent: node a, since 2026-12-31 12:00:09 UTC",
        "b (beta) is active with epoch 8",
        "epoch 8",
        "no: as good as its cable",
    ):
        assert expected in words
    assert client.get("/rack/rack-9").status_code == 404


def test_a_board_that_was_never_seen(client: TestClient, room: Room) -> None:
    view = room.source.view("rack-1")
    view.status, view.nodes, view.up, view.trouble = None, (), False, ""
    assert "not looked at yet" in client.get("/").text
    assert "not looked at yet" in client.get("/rack/rack-1").text


def test_the_journal_is_filtered_and_paged(client: TestClient, room: Room) -> None:
    page = client.get("/journal?rack=rack-2&severity=alarm").text
    assert page.count('<td class="words">') == page.count(">alarm<") - 1 > 1  # and the choice in the form
    assert "rack-1</td>" not in page
    assert client.get("/journal?event=granted").text.count('<td class="words">') == 3
    assert client.get("/journal?since=2026-12-31T12:00:18Z").text.count('<td class="words">') == 3
    for number in range(60):
        room.boards[0].log(1, a=number)
    room.collect()
    seen: list[str] = []
    path = "/journal?rack=rack-1"
    while path:
        found = client.get(path)
        seen += re.findall(r'href="/why/(\d+)"', found.text)
        older = re.search(r'rel="next" href="([^"]+)"', found.text)
        path = older[1].replace("&amp;", "&") if older else ""
    assert len(seen) == len(set(seen)) == 74
    assert seen == sorted(seen, key=int, reverse=True)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("node=zz", "there is no node &#39;zz&#39;"),
        ("severity=loud", "there is no severity"),
        ("event=grant", "did you mean granted"),
        ("rack=nowhere", "no board &#39;nowhere&#39;"),
        ("since=soon", "neither a sequence number"),
        ("since=\N{SUPERSCRIPT TWO}", "there is no such time"),
        ("since=99999999999999999999", "no record of such a number"),
        ("until=7", "until takes a time or a span"),
        ("until=0001-01-01T00:00%2B23:59", "there is no such time"),
        ("before=x", "no number of a record"),
        ("before=9999999999999999999999", "no number of a record"),
    ],
)
def test_a_filter_that_makes_no_sense_is_explained(client: TestClient, query: str, words: str) -> None:
    page = client.get(f"/journal?{query}")
    assert page.status_code == 200
    assert words in page.text
    assert '<td class="words">' not in page.text


def test_why_is_what_the_command_says(client: TestClient, room: Room) -> None:
    journal = client.get("/journal?rack=rack-1&event=fence_fired").text
    link = re.search(r'href="(/why/\d+)"', journal)
    assert link is not None
    words = client.get(link[1]).text
    assert "Rule 5.6" in words
    assert "What led to it:" in words
    assert "2026-12-31 12:00:16 UTC, " in words
    assert "At 2026" not in words
    assert "not so: " in words
    for path in ("/why/0", "/why/999999", "/why/x", "/why/-1", "/why/1e3"):
        assert client.get(path).status_code == 404


def test_notifications_show_what_waits_and_what_went_out(client: TestClient, room: Room) -> None:
    for number in range(2):
        room.note("lost", f"{number} records are missing")
    waiting = room.outbox.waiting("mail")
    first = room.outbox.bundle("mail", [waiting[0].id], [], "alarm", "told title", "told body")
    second = room.outbox.bundle("mail", [waiting[1].id], [], "warning", HOSTILE, HOSTILE)
    assert first is not None
    assert second is not None
    room.outbox.begin(first)
    room.outbox.finish(first, 1, sent=True)
    room.outbox.begin(second)
    room.outbox.finish(second, 1, sent=False, trouble="no route")
    page = client.get("/notifications").text
    pending, sent = page.split("<h2>Sent</h2>")
    assert "no route" in pending
    assert "told title" in sent
    assert "told title" not in pending
    assert HOSTILE not in page


def test_notes_are_what_the_monitor_noticed(client: TestClient, room: Room) -> None:
    room.note("reset", "the board has restarted: boot 4 after 3")
    assert "the board has restarted: boot 4 after 3" in client.get("/notes").text


def test_names_from_a_board_are_never_markup(client: TestClient, room: Room) -> None:
    room.change(0, "a", name=HOSTILE, state=HOSTILE, role=HOSTILE)
    room.change(0, mode=HOSTILE, phase=HOSTILE, version=HOSTILE, held=HOSTILE)
    room.change(1, approval={"request": HOSTILE, "left_s": 5}, phase="watching")
    room.sources[2].down = True
    room.source.view("rack-3").trouble = HOSTILE
    room.note("reset", HOSTILE)
    live = app.Page(room.source, room.web)._live
    parts = [html for name in ("", *room.names) for html in live.parts(name).values()]
    for html in [*(client.get(path).text for path in PAGES), *parts]:
        assert "<script>alert" not in html
    assert "&lt;script&gt;" in client.get("/rack/rack-1").text


def test_a_status_that_nothing_here_foresaw_costs_one_rack_its_words(client: TestClient, room: Room) -> None:
    room.change(0, "a", role="emperor", verdict="maybe", power="some", fence="odd", state="dreaming")
    room.change(0, mode="dream", phase="odd", approval={"left_s": None}, schedule="z", wall=[1])
    page = client.get("/")
    assert page.status_code == 200
    assert "it says what this version of heartwire cannot read" in page.text
    assert page.text.count("active <strong>b (beta)") == 2


def test_a_store_that_is_away_leaves_the_racks(client: TestClient, room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> None:
        raise StorageProblem("monitor.db: disk I/O error", "check its disk")

    monkeypatch.setattr(room.store, "read", away)
    for path in ("/", "/rack/rack-1"):
        page = client.get(path)
        assert page.status_code == 200
        assert "disk I/O error" in page.text
        assert "active" in page.text
    for path in ("/journal", "/notifications", "/notes", "/why/1"):
        page = client.get(path)
        assert page.status_code == 503
        assert "check its disk" in page.text


def test_a_damaged_record_costs_no_page_but_its_own(client: TestClient, room: Room) -> None:
    with room.store.write() as connection:
        connection.execute(sqlalchemy.update(schema.event).where(schema.event.c.id == 1).values(raw=b"\0" * 42))
    assert client.get("/").status_code == 200
    assert client.get("/notes").status_code == 200


@pytest.mark.parametrize("path", PAGES)
def test_every_answer_has_a_strict_head_and_nothing_inline(client: TestClient, path: str) -> None:
    page = client.get(path)
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["cache-control"] == "no-store"
    assert not re.search(r"<style|<script(?! src=\"/static/)|\son[a-z]+=|\sstyle=|javascript:", page.text)
    assert not re.search(r"(?:src|href|action)=\"(?!/|#)", page.text)


def test_nothing_acts(client: TestClient) -> None:
    for path in PAGES:
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            assert client.request(method, path).status_code in (404, 405)


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:9734", ""])
def test_a_name_that_is_not_ours_reads_nothing(client: TestClient, host: str) -> None:
    page = client.get("/", headers={"host": host})
    assert page.status_code == 421
    assert "rack-1" not in page.text
    for ours in ("localhost:1", "LOCALHOST", "127.0.0.1:9734", "[::1]:9734"):
        assert client.get("/", headers={"host": ours}).status_code == 200


def test_a_name_in_the_settings_is_ours(room: Room) -> None:
    made = app.Page(room.source, WebSettings(hosts=("monitor.example",))).app()
    assert TestClient(made, base_url="http://monitor.example").get("/").status_code == 200


def test_files_outside_the_static_folder_are_not_served(client: TestClient) -> None:
    assert client.get("/static/style.css").status_code == 200
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static/"):
        assert client.get(path).status_code == 404


def test_a_time_that_is_none_is_said_so() -> None:
    assert pages.when(10**18) == "at an unknown time"
    assert pages.when(0) == ""


@pytest.mark.parametrize(
    ("web", "words"),
    [
        ({"listen": "9734"}, "web.listen: must be ADDRESS:PORT"),
        ({"lisen": "x"}, "web.lisen: unknown setting"),
        (5, "web: must be a table"),
    ],
)
def test_settings_of_the_page_are_checked(web: object, words: str) -> None:
    with pytest.raises(BadConfig) as caught:
        settings.settings_from({"board": [{"name": "x", "port": "y"}], "web": web})
    assert any(problem.startswith(words) for problem in caught.value.problems), caught.value.problems


def test_without_its_table_there_is_no_page() -> None:
    values = {"board": [{"name": "x", "port": "y"}]}
    assert settings.settings_from(values).web is None
    assert settings.settings_from({**values, "web": {}}).web == WebSettings()


def test_a_failover_as_a_picture_and_in_words(client: TestClient, room: Room) -> None:
    page = client.get("/rack/rack-1/failover")
    assert "rack-1: Failover from a (alpha) to b (beta)" in page.text
    assert page.text.count('<td class="words">') == 14
    picture = client.get("/rack/rack-1/failover.svg")
    assert picture.headers["content-type"] == "image/svg+xml"
    assert "granted (epoch 8)" in picture.text
    assert "style=" not in picture.text
    for path in ("failover?before=x", "failover.svg?before=x", "failover.svg?before=3"):
        assert client.get(f"/rack/rack-1/{path}").status_code == 404
    assert "Nobody was made active" in client.get("/rack/rack-1/failover?before=3").text
    assert client.get("/rack/none/failover").status_code == 404


def test_a_failover_before_the_last_3000_records_is_drawn(client: TestClient, room: Room) -> None:
    for number in range(3100):
        room.boards[0].log(1, a=number)
    room.collect()
    granted = next(row for row in room.source.reader.all(Filter(event="granted")) if row.board == "rack-1")
    path = f"/rack/rack-1/failover?before={granted.entry.sequence}"
    assert path in client.get("/rack/rack-1/failover").text
    assert "rack-1: Failover from a (alpha)" in client.get(path).text


def test_the_chart_shows_each_look_and_says_it_in_words(client: TestClient, room: Room) -> None:
    room.beat(20, lambda at, node: 4000 if at == 10 and node == "b" else 300 + at % 3 * 40)
    page = client.get("/rack/rack-1").text
    chart = page[page.index("<svg") : page.index("</svg>")]
    assert "b (beta) was heard 0.3 s before the last look, at most 4.0 s, jitter at most" in chart
    assert "late after 3 s" in chart
    assert chart.count('stroke-dasharray="7 3"') == 4, "the second node has dashes, in both panels and at its name"
    assert len(set(re.findall(r'stroke="(#[0-9a-f]{6})" stroke-width="2"', chart))) == 2
    room.change(0, "a", age_ms=None, beats=0)
    assert "<svg" in client.get("/rack/rack-1").text


def test_a_trend_is_bounded(room: Room) -> None:
    room.beat(400)
    assert {len(looks) for looks in room.source.view("rack-1").trend.values()} == {300}
