"""Who may ask: the right host, a token where the pages are not on loopback, one origin, a page of ours for acting."""

import hmac
import ipaddress
import secrets
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from urllib.parse import parse_qs, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "swarm_token"
_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
_STEPS = "open the address that `swarm browse` printed"


@dataclass(frozen=True, kw_only=True)
class Pass:
    """What a request must show."""

    host: str = "127.0.0.1"  # the address that is listened on
    token: str | None = None  # needed by every request; None: none is, the pages are on loopback
    names: frozenset[str] = frozenset({"localhost"})  # Host names answered to beside addresses written as numbers
    form: str = field(default_factory=lambda: secrets.token_urlsafe(24))  # in every form of ours, or nothing is done

    def host_is_ours(self, header: str) -> bool:
        """Whether a Host header names this server: a page of another name that leads here does not get in."""
        name = header.rsplit(":", 1)[0] if not header.endswith("]") else header
        name = name.strip("[]").lower()
        if name in self.names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or self.token is not None

    def form_is_ours(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.form.encode())


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """Stands before the pages: refuses, or lets through and adds the headers that bind the browser."""

    def __init__(self, app: ASGIApp, needed: Pass) -> None:
        self._app = app
        self._needed = needed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def bound(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, bound)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._needed.host_is_ours(host):
            return PlainTextResponse(f"these pages are not at this name; {_STEPS}\n", status_code=421)
        if scope["method"] not in ("GET", "HEAD") and not _same_origin(headers, host, scope["scheme"]):
            return PlainTextResponse("only pages of this server may act\n", status_code=403)
        return self._token_missing(scope)

    def _token_missing(self, scope: Scope) -> Response | None:
        """None when a token is not needed or shown; one in the address moves into a cookie and out of the address."""
        needed = self._needed.token
        if needed is None:
            return None
        query = parse_qs(scope["query_string"].decode("latin-1"))
        if "token" in query and hmac.compare_digest(query.pop("token")[0].encode(), needed.encode()):
            rest = urlencode(query, doseq=True)
            response = RedirectResponse(scope["path"] + (f"?{rest}" if rest else ""), status_code=303)
            response.set_cookie(COOKIE, needed, httponly=True, samesite="strict", max_age=30 * 24 * 3600)
            return response
        connection = HTTPConnection(scope)
        shown = SimpleCookie(connection.headers.get("cookie", "")).get(COOKIE)
        bearer = connection.headers.get("authorization", "").removeprefix("Bearer ")
        for given in (bearer, shown.value if shown else ""):
            if hmac.compare_digest(given.encode(), needed.encode()):
                return None
        return PlainTextResponse(f"a token is needed here; {_STEPS}\n", status_code=401)


def _same_origin(headers: Headers, host: str, scheme: str) -> bool:
    """Whether a request comes from a page of this server, as far as its sender says."""
    if headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return False
    origin = headers.get("origin")
    return origin is None or origin == f"{scheme}://{host}"
