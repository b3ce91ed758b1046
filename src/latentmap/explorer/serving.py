"""The local server of the page: its address, its port, its start and its end."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from latentmap.exceptions import DataError, MissingExtraError

if TYPE_CHECKING:
    from latentmap.explorer.exploration import Exploration

PORT = 8765
TRIED = 100
"""Ports that are tried, one after the other."""


def bound(host: str, port: int | None) -> socket.socket:
    """Return a socket that listens on a port, the first one that is free from `PORT` on if it is None.

    Raises
    ------
    DataError
        If the port is in use, or the host is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for tried in range(PORT, PORT + TRIED) if port is None else (port,):
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, tried))
            listening.listen(128)
            return listening
        except OSError as error:
            listening.close()
            if port is not None or tried == PORT + TRIED - 1:
                raise DataError(f"port {tried} of {host} cannot be taken ({error.strerror}): give another") from error
    raise AssertionError


def serve(
    explorations: Sequence[Exploration], listening: socket.socket, ready: Callable[[str], None], token: str = ""
) -> None:
    """Serve explorations until an interrupt; ``ready`` is called with the address once it answers.

    Raises
    ------
    MissingExtraError
        If Starlette or uvicorn are not installed.
    """
    try:
        import uvicorn

        from latentmap.explorer.server import application
    except ImportError as error:
        raise MissingExtraError("uvicorn", "explore") from error
    from latentmap.explorer.guard import Guard

    token = token or secrets.token_urlsafe(24)
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    hosts = {f"{name}:{port}" for name in (shown, "localhost")}
    app = Guard(application(explorations), token, hosts)
    config = uvicorn.Config(app, log_config=None, access_log=False, server_header=False, ws="none", lifespan="off")
    server = uvicorn.Server(config)
    ready(f"http://{shown}:{port}/{token}/")
    try:
        server.run(sockets=[listening])
    finally:
        listening.close()
