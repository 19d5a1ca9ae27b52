"""The picture of a failover: its bars add up, and what is written stays inside."""

from __future__ import annotations

import re

from heartwire import journal, timeline
from tests.unit.policy.test_next_steps import asking

SPAN = re.compile(r'font-weight="bold"[^>]*>([0-9.]+) (ms|s)</text>')
RIGHTMOST = re.compile(r'<text x="([0-9.]+)"[^>]*text-anchor="start">([^<]*)</text>')


def test_in_approve_mode_the_bars_add_up_to_the_time_without_service() -> None:
    bench = asking()
    bench.run(36000)
    assert bench.ask(op="approve", request=bench.board.state.request_number) == {"ok": 1}
    bench.run_until(lambda: bench.board.state.active == 1 and not bench.board.state.awaiting_running)
    bench.run(1500)
    rows = [journal.decode(raw) for raw in bench.raw_journal()]
    moments = timeline.moments([(row.uptime_ms, row) for row in rows])
    story = timeline.last_story(moments)
    picture = timeline.render(story, {}, timeline.title_of(story, {}), history=moments)
    assert "waiting for approval" in picture and "0 s is the last good heartbeat" in picture
    spans = [float(number) / (1000 if unit == "ms" else 1) for number, unit in SPAN.findall(picture)]
    assert len(spans) == 6
    assert abs(sum(spans[:-1]) - spans[-1]) < 0.3, "each is rounded to a tenth"
    for x, words in RIGHTMOST.findall(picture):
        assert float(x) + len(words) * timeline.LETTER <= timeline.WIDTH, words
