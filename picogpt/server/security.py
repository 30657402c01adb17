"""Who may ask: a browser's page from elsewhere may not, nor anybody without the key where there is one.

A page of another site can make a browser send requests to this machine. It says so in `Origin`, and where its own name
has been made to point here ("DNS rebinding") that name stands in `Host`; neither is answered.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
import socket
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from picogpt.errors import shown
from picogpt.server.errors import ApiError

LOCAL_ORIGIN = r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?"
OPEN = re.compile(r"/|/health|/page/.*")  # without a key: the page itself, which asks for it, and whether it is alive


class HostGuard:
    """Refuses requests whose Host is a name that nobody gave this machine."""

    def __init__(self, app: ASGIApp, hosts: Sequence[str] = ()) -> None:
        own = socket.gethostname().lower()
        self.app, self.hosts = app, {"localhost", own, f"{own}.local", *map(str.lower, hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        host = Headers(scope=scope).get("host") if scope["type"] == "http" else None
        if host is not None and not self.is_own(name_of(host)):
            message = f"the Host {shown(host)} is not this server's; start it with --allow-host NAME if it should be"
            return await ApiError(403, message).response(scope, receive, send)
        return await self.app(scope, receive, send)

    def is_own(self, name: str) -> bool:
        return name in self.hosts or name.endswith(".localhost") or is_address(name)


class OriginGuard:
    """Refuses requests from pages of other origins than the allowed ones and the server's own."""

    def __init__(self, app: ASGIApp, origins: Sequence[str] = ()) -> None:
        self.app, self.origins = app, set(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope) if scope["type"] == "http" else {}
        origin = headers.get("origin")
        if origin is not None and not self.is_allowed(origin, headers.get("host", "")):
            message = f"pages of {shown(origin)} may not use this server; start it with --cors ORIGIN if they should"
            return await ApiError(403, message).response(scope, receive, send)
        return await self.app(scope, receive, send)

    def is_allowed(self, origin: str, host: str) -> bool:
        if origin in self.origins or "*" in self.origins or re.fullmatch(LOCAL_ORIGIN, origin):
            return True
        return origin in (f"http://{host}", f"https://{host}")


class KeyGuard:
    """Refuses requests without the key."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self.app, self.expected = app, f"Bearer {key}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not OPEN.fullmatch(scope["path"]):
            given = Headers(scope=scope).get("authorization", "").encode("latin-1")
            if not hmac.compare_digest(given, self.expected):
                message = "the API key is wrong" if given else "this server needs an API key: Authorization: Bearer KEY"
                error = ApiError(401, message, None, "invalid_api_key", {"WWW-Authenticate": "Bearer"})
                return await error.response(scope, receive, send)
        return await self.app(scope, receive, send)


def name_of(host: str) -> str:
    """The name or address in a Host header, without its port."""
    return re.sub(r":\d*$", "", host).lower().rstrip(".")


def is_address(name: str) -> bool:
    """Whether this is an IP address, which no name server can make point elsewhere."""
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what is bound to `host`."""
    return host == "localhost" or (is_address(host) and ipaddress.ip_address(host).is_loopback)
