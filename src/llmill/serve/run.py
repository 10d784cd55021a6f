"""The server's lifetime: address, models, signals."""

import asyncio
import errno
import os
import signal
import socket
from collections.abc import Sequence

import uvicorn
from fastapi import FastAPI

from llmill.contract import printable
from llmill.contract.errors import UserError
from llmill.contract.weight_types import WeightType
from llmill.serve.app import create, in_url
from llmill.serve.connections import IDLE, Connection, Door, allowed
from llmill.serve.limits import Limits
from llmill.serve.served import opened

KEY_VARIABLE = "LLMILL_API_KEY"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
TAKEN = (errno.EADDRINUSE, errno.EACCES)  # another port may be free, or allowed
GRACE = 10  # seconds in which answers must end after a signal
UNREAD = 5  # further seconds for a client to read what it got


def serve(names: Sequence[str], host: str, port: int, limits: Limits, dtype: WeightType) -> None:
    """Answer until SIGINT or SIGTERM. Raises `UserError` for an address that is not available, and
    for a name that is not a language model.
    """
    key = os.environ.get(KEY_VARIABLE)
    if (key is not None and not key.isascii()) or key == "":
        raise UserError(f"{KEY_VARIABLE}: empty or not ASCII; unset it, or set it to a key")
    printable.logs()
    connections = allowed(limits.connections)
    with listener(host, port) as socket_:
        models = opened(list(dict.fromkeys(names)), dtype)
        local = host in LOOPBACK
        app = create(models, limits, key, LOOPBACK if local and key is None else None)
        if not local and key is None:
            print(f"llmill: whoever reaches this machine may ask; {KEY_VARIABLE} sets a key")
        server = Server(app, connections)
        for signum in (signal.SIGINT, signal.SIGTERM):  # uvicorn handles them once it runs
            signal.signal(signum, server.handle_exit)
        where = f"http://{in_url(host)}:{socket_.getsockname()[1]}"
        ready = f"llmill: {', '.join(models)} at {where}/v1, a page at {where}/"
        print(printable.line(ready), flush=True)
        server.run(sockets=[socket_])
    print("llmill: stopped")


class Server(uvicorn.Server):
    """Quiet except for failures, and only HTTP; answers not written in time are cut off."""

    def __init__(self, app: FastAPI, connections: int = Limits.connections):
        """`connections`: how many may be open at once."""
        self._worker, self._connections = app.state.worker, connections
        settings = uvicorn.Config(
            app,
            loop="asyncio",
            http="h11",
            ws="none",
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE + UNREAD,
            timeout_keep_alive=IDLE,
        )
        super().__init__(settings)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer; connections come through our own `Door`."""
        await super().startup(sockets=[])
        loop = asyncio.get_running_loop()

        def connection(door: Door) -> Connection:
            return Connection(
                door,
                config=self.config,
                server_state=self.server_state,
                app_state=self.lifespan.state,
                _loop=loop,
            )

        doors = [Door(each, self._connections, connection) for each in sockets or []]
        self.servers = doors  # type: ignore[assignment]  # of asyncio's only what a Door has, too

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let answers finish, and refuse the rest of those that do not."""
        asyncio.get_running_loop().call_later(GRACE, self._worker.stop)
        await super().shutdown(sockets)


def listener(host: str, port: int) -> socket.socket:
    """Return a socket bound to the address, before anything is loaded."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = error.strerror
        if error.errno is not None and error.errno > 0:  # a name that is not an address has none
            reason = os.strerror(error.errno)
        another = "; --port takes another" if error.errno in TAKEN else ""
        raise UserError(f"{host}, port {port}: {reason}{another}") from None
