"""One thread that waits for bytes, timers and ended processes, and calls whoever asked.

Everything of one rack happens in this thread, one callback after the other, so the virtual parts need no locks. It
sleeps in epoll, never polls, and outlives a callback that fails: the failure is logged and kept in `failures`. Used by
every part of the virtual board and rack; tests and the demo only through those.
"""

import heapq
import itertools
import logging
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")
_LOG = logging.getLogger("heartwire.virtual")


class Timer:
    """A callback that is still to come."""

    def __init__(self, at_ns: int, callback: Callable[[], None]) -> None:
        self.at_ns = at_ns
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Make sure that the callback is not called."""
        self.callback = None


class Reactor:
    """The thread; starts at once and runs until close()."""

    def __init__(self, name: str = "heartwire-virtual") -> None:
        self.failures: list[BaseException] = []
        self._epoll = select.epoll()
        self._watched: dict[int, Callable[[int], None]] = {}
        self._timers: list[tuple[int, int, Timer]] = []
        self._order = itertools.count()
        self._posted: deque[Callable[[], None]] = deque()
        self._closing = False
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._wake, select.EPOLLIN)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def inside(self) -> bool:
        """Return whether the caller runs in the reactor's thread."""
        return threading.current_thread() is self._thread

    def call(self, function: Callable[[], T]) -> T:
        """Run `function` in the reactor's thread and return its result; raises what it raises."""
        if self.inside or not self._thread.is_alive():
            return function()
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)

        self.post(run)
        return future.result()

    def post(self, function: Callable[[], None]) -> None:
        """Run `function` in the reactor's thread soon."""
        self._posted.append(function)
        os.eventfd_write(self._wake, 1)

    def later(self, delay_ms: float, callback: Callable[[], None]) -> Timer:
        """Call back after `delay_ms`; only from inside the reactor's thread."""
        timer = Timer(time.monotonic_ns() + int(delay_ms * 1e6), callback)
        heapq.heappush(self._timers, (timer.at_ns, next(self._order), timer))
        return timer

    def watch(self, fd: int, events: int, callback: Callable[[int], None]) -> None:
        """Call back with the epoll events of `fd` until unwatch()."""
        self._watched[fd] = callback
        self._epoll.register(fd, events)

    def change(self, fd: int, events: int) -> None:
        """Change what is awaited on `fd`."""
        self._epoll.modify(fd, events)

    def unwatch(self, fd: int) -> None:
        """Forget `fd`; unknown ones are ignored."""
        if self._watched.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def close(self) -> None:
        """Stop the thread; nothing is called any more."""
        if not self._thread.is_alive():
            return
        self._closing = True
        os.eventfd_write(self._wake, 1)
        if not self.inside:
            self._thread.join()
            self._epoll.close()
            os.close(self._wake)

    def _run(self) -> None:
        while not self._closing:
            timeout_s = -1.0
            if self._timers:
                timeout_s = max(0.0, (self._timers[0][0] - time.monotonic_ns()) / 1e9)
            for fd, events in self._epoll.poll(timeout_s):
                if fd == self._wake:
                    os.eventfd_read(self._wake)
                    continue
                callback = self._watched.get(fd)
                if callback is not None:
                    self._guard(callback, events)
            while self._posted:
                self._guard(self._posted.popleft())
            now_ns = time.monotonic_ns()
            while self._timers and self._timers[0][0] <= now_ns:
                timer = heapq.heappop(self._timers)[2]
                due, timer.callback = timer.callback, None
                if due is not None:
                    self._guard(due)

    def _guard(self, callback: Callable[..., None], *arguments: int) -> None:
        try:
            callback(*arguments)
        except Exception as error:
            self.failures.append(error)
            _LOG.exception("a callback of the virtual rack failed")
