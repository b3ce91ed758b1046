"""What every request to the local page has to pass: the token, the host, the origin, and the size of its body."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Collection
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 20_000_000
"""Bytes of the body of a request, at the most."""
MOST_QUERY = 4000
"""Bytes of the query of a request, at the most."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "font-src 'self'; worker-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
"""Headers of every answer."""


class Guard:
    """Application that answers requests below ``/TOKEN/`` to one of the hosts, and refuses all others.

    Parameters
    ----------
    app : ASGI application
        What answers, by paths without the token.
    token : str
        The token.
    hosts : collection of str
        What the header Host may be, such as ``127.0.0.1:8765``.
    port : int, default=None
        Port at which the header may be any address of digits too, for a page that is served at all addresses of the
        machine: a name that a stranger has pointed here is none.
    """

    def __init__(self, app: ASGIApp, token: str, hosts: Collection[str], port: int | None = None) -> None:
        self.app = app
        self.token = token
        self.hosts = frozenset(host.lower() for host in hosts)
        self.port = port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *HEADERS]}
            await send(message)

        if (status := self._refusal(scope)) is not None:
            await _answer(with_headers, status)
            return
        size = 0

        async def within_bounds() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > MOST_BYTES:
                raise HTTPException(413)
            return message

        path = scope["path"][len(self.token) + 1 :]
        inner = {**scope, "path": path, "raw_path": path.encode(), "root_path": ""}
        await self.app(inner, within_bounds, with_headers)

    def _refusal(self, scope: Scope) -> int | None:
        """Return the status of the refusal of a request; None if it is answered."""
        given: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            given.setdefault(name.lower(), []).append(value)
        hosts = [host.decode("latin-1").lower() for host in given.get(b"host", [])]
        if len(hosts) != 1 or not self._is_own(hosts[0]):
            return 403
        origins = {origin.decode("latin-1").lower() for origin in given.get(b"origin", [])}
        if not origins <= {f"http://{hosts[0]}"}:
            return 403
        first, slash, _ = scope["path"].removeprefix("/").partition("/")
        if not (scope["path"].startswith("/") and slash and hmac.compare_digest(first.encode(), self.token.encode())):
            return 404
        if len(scope["query_string"]) > MOST_QUERY:
            return 414
        lengths = given.get(b"content-length", [])
        return None if all(map(_is_within, lengths)) else 413

    def _is_own(self, host: str) -> bool:
        """Return whether the header Host names this server."""
        if host in self.hosts:
            return True
        name, _, port = host.rpartition(":")
        if self.port is None or port != str(self.port):
            return False
        try:
            return bool(ipaddress.ip_address(name.removeprefix("[").removesuffix("]")))
        except ValueError:
            return False


def _is_within(length: bytes) -> bool:
    """Return whether a header Content-Length is a number of bytes that a body may have."""
    return length.isdigit() and len(length) < 20 and int(length) <= MOST_BYTES


async def _answer(send: Send, status: int) -> None:
    """Send an answer without a body."""
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})
