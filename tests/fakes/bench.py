"""The simulator's bench under the tests' name: one copy for tests and `heartwire simulate`."""

from __future__ import annotations

from heartwire.simulate.bench import *  # noqa: F403
from heartwire.simulate.bench import Bench


class BenchChannel:
    """The host link of a bench, as a channel for the CLI: waiting for bytes lets virtual time pass."""

    name = "bench"

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def read(self, timeout_s: float) -> bytes:
        sent = self._bench.hardware.usb.sent
        for _ in range(max(1, round(timeout_s * 1000))):
            if sent:
                break
            self._bench.step()
        data = bytes(sent)
        sent.clear()
        return data

    def write(self, data: bytes) -> None:
        self._bench.hardware.usb.incoming.extend(data)

    def close(self) -> None:
        pass

    def now(self) -> float:
        return self._bench.ms / 1000
