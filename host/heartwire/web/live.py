"""The live update: server-sent events with the parts of a page that changed, as the server itself makes them.

One task makes the parts for all who listen, so that many cost as one; a stream ends after STREAM_S and the browser
comes again by itself. The page is whole without it. Called by app.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import anyio.to_thread
import jinja2
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from heartwire.web import pages, racks

STREAMS_MAX = 32
# Shorter than server.EXCHANGE_S.
STREAM_S = 60.0
TICK_S = 1.0


class Live:
    """Streams of parts; `answer` is the handler."""

    def __init__(self, source: pages.Source, templates: jinja2.Environment) -> None:
        self._source = source
        self._templates = templates
        self._streams = 0
        # By the rack that is watched, "" for all: when it was made, and what.
        self._made: dict[str, tuple[float, dict[str, str]]] = {}
        self._making = asyncio.Lock()

    async def answer(self, request: Request) -> Response:
        """Stream the parts of all racks, or of the one that `rack` names. Raises pages.NotFound."""
        name = request.query_params.get("rack", "")
        if name:
            self._source.view(name)
        if self._streams >= STREAMS_MAX:
            return PlainTextResponse("Too many watch already.\n", 503, {"Retry-After": "10"})
        headers = {"X-Accel-Buffering": "no"}
        return StreamingResponse(self._stream(name), media_type="text/event-stream", headers=headers)

    async def _stream(self, name: str) -> AsyncIterator[str]:
        loop = asyncio.get_running_loop()
        end_s = loop.time() + STREAM_S
        sent: dict[str, str] = {}
        self._streams += 1
        try:
            yield "retry: 2000\n\n"
            while loop.time() < end_s:
                made = await self._parts(name)
                changed = {key: html for key, html in made.items() if sent.get(key) != html}
                sent.update(changed)
                yield f"data: {json.dumps(changed)}\n\n"
                await asyncio.sleep(TICK_S)
        finally:
            self._streams -= 1

    async def _parts(self, name: str) -> dict[str, str]:
        """Return the parts of now, made once a tick for all who watch the same."""
        async with self._making:
            now_s = asyncio.get_running_loop().time()
            made_s, made = self._made.get(name, (-TICK_S, {}))
            if now_s - made_s >= TICK_S / 2:
                made = await anyio.to_thread.run_sync(self.parts, name)
                self._made[name] = (now_s, made)
            return made

    def parts(self, name: str = "") -> dict[str, str]:
        """Return the parts of the page of all racks, or of the rack `name`, by the words of their `data-part`."""
        now_s = self._source.clock()
        if name:
            view = self._source.view(name)
            rack = self._templates.get_template("part_rack.html").render(rack=racks.rack_of(view, now_s))
            chart = self._templates.get_template("part_chart.html").render(chart=racks.chart_of(view, now_s))
            return {"rack": rack, "chart": chart}
        found = self._source.racks()
        card = self._templates.get_template("part_card.html")
        parts = {"summary": self._templates.get_template("part_summary.html").render(counts=racks.counts_of(found))}
        parts.update((f"card-{rack.name}", card.render(rack=rack)) for rack in found)
        return parts
