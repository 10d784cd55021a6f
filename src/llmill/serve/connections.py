"""Limit how many connections are open at once, and how long one keeps its place without a request.

asyncio accepts every connection, and uvicorn waits for headers without end. A `Door` accepts no
more than the process has descriptors for. If all places are taken, the connection that has waited
longest without a whole request is closed, because an honest client sends its headers at once. If
every connection is being answered, new ones wait in the system's queue.
"""

import asyncio
import errno
import logging
import resource
import socket
import time
from collections.abc import Callable
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from llmill.contract.errors import UserError

HEADERS = 10  # seconds for the headers of a request, or for the rest of one that is answered
IDLE = 75  # seconds between requests: longer than clients wait, lest both close it at once
UNREAD = 30  # seconds that a client may leave data unread
KEPT = 64  # descriptors for files and the loop
QUEUE = 2048  # connections that wait in the system's queue
AGAIN = 1.0  # seconds until connections are accepted again after a failure
QUIET = 60.0  # seconds between two log lines about places
SHORT = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}  # out of descriptors or memory
LOG = logging.getLogger(__name__)


def allowed(count: int) -> int:
    """Return `count`, or as many connections as leave descriptors for files. Raises `UserError` if
    that is none.
    """
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors == resource.RLIM_INFINITY:
        return count
    if descriptors <= KEPT:
        reason = f"{descriptors} files may be open (`ulimit -n`), but {KEPT} are kept for others"
        raise UserError(f"connections: {reason}; `ulimit -n 1024` allows more")
    return min(count, descriptors - KEPT)


class Door:
    """Accepts connections from a listening socket, at most `most` at once."""

    def __init__(self, listening: socket.socket, most: int, make: Callable[["Door"], "Connection"]):
        """`make` returns the protocol of a connection. Opens at once, in a running loop."""
        self._listening, self._most, self._make = listening, most, make
        self._loop = asyncio.get_running_loop()
        self._open: set[Connection] = set()
        self._waiting: dict[Connection, None] = {}  # without a whole request, longest first
        self._beginning: set[asyncio.Task[Any]] = set()
        self._resting: asyncio.TimerHandle | None = None
        self._told = -QUIET
        listening.setblocking(False)
        listening.listen(QUEUE)
        self._loop.add_reader(listening, self._take)

    def waits(self, connection: "Connection") -> None:
        """Note that a connection begins to wait for a request."""
        self._waiting.pop(connection, None)
        self._waiting[connection] = None

    def request_came(self, connection: "Connection") -> None:
        """Note that a connection no longer waits for a request."""
        self._waiting.pop(connection, None)

    def lost(self, connection: "Connection") -> None:
        """Free a connection's place."""
        self.request_came(connection)
        self._open.discard(connection)
        if self._resting is not None:
            self._awake()

    def close(self) -> None:
        """Accept no more connections."""
        self._loop.remove_reader(self._listening)
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None

    async def wait_closed(self) -> None:
        """Return at once; nothing is left to wait for."""

    def _take(self) -> None:
        """Accept one connection; the loop calls again for the next, after whatever else is to be
        done.
        """
        if len(self._open) >= self._most:
            return self._make_room(f"all {self._most} connections are taken")
        try:
            client, _ = self._listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:
            reason = f"a connection could not be taken: {error.strerror}"
            return self._make_room(reason) if error.errno in SHORT else self._rest(reason)
        connection = self._make(self)
        self._open.add(connection)
        task = self._loop.create_task(self._begin(connection, client))
        self._beginning.add(task)
        task.add_done_callback(self._beginning.discard)

    async def _begin(self, connection: "Connection", client: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: connection, client)
        except OSError:  # the client is gone
            client.close()
            self.lost(connection)

    def _make_room(self, reason: str) -> None:
        """Close the connection that waited longest, if any waits; the loop then calls again."""
        if not self._waiting:
            return self._rest(reason)
        self._tell(f"{reason}; who waited longest without a request is let go")
        longest = next(iter(self._waiting))
        self.request_came(longest)
        longest.transport.abort()

    def _rest(self, reason: str) -> None:
        """Accept nothing until a place is free, or for a while."""
        self._tell(f"{reason}; new ones wait")
        self._loop.remove_reader(self._listening)
        self._resting = self._loop.call_later(AGAIN, self._awake)

    def _awake(self) -> None:
        self.close()
        self._loop.add_reader(self._listening, self._take)

    def _tell(self, reason: str) -> None:
        now = time.monotonic()
        if now - self._told >= QUIET:
            self._told = now
            LOG.warning("llmill: %s; said at most every %d seconds", reason, QUIET)


class Connection(H11Protocol):
    """HTTP/1.1 that closes unless a whole request comes in time and its answer is read in time."""

    def __init__(self, door: Door, **of_uvicorn: Any):
        super().__init__(**of_uvicorn)
        self._door = door
        self._idle = False  # between two requests
        self._limit: asyncio.TimerHandle | None = None  # limits the wait for a request
        self._reading: asyncio.TimerHandle | None = None  # limits the wait for the client to read

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait(HEADERS)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._no_wait()
        self._read()
        self._door.lost(self)

    def data_received(self, data: bytes) -> None:
        if self._idle:
            self._wait(HEADERS)
        super().data_received(data)

    def handle_events(self) -> None:
        super().handle_events()
        if self.cycle is not None and not self.cycle.response_complete:
            self._no_wait()

    def on_response_complete(self) -> None:
        # What follows is the next request, or what the answer did not wait for.
        clean = self.conn.their_state is h11.DONE and not self.conn.trailing_data[0]
        self._wait(IDLE if clean and not self.transport.is_closing() else HEADERS)
        self._idle = clean
        super().on_response_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._reading = self.loop.call_later(UNREAD, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._read()

    def _wait(self, seconds: float) -> None:
        self._no_wait()
        if not self.transport.is_closing():  # else it only finishes writing
            self._door.waits(self)
        self._limit = self.loop.call_later(seconds, self.transport.abort)

    def _no_wait(self) -> None:
        self._idle = False
        self._door.request_came(self)
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

    def _read(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None
