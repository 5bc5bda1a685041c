"""One transfer over the network, by rules that no answer of a server can loosen.

Only ``https`` with a verified certificate; every redirection is held to the same rules; addresses of private networks
and of this machine are refused; the bytes are counted and stop at the cap.
"""

from __future__ import annotations

import http.client
import ipaddress
import os
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from lamina.errors import shown
from lamina.io import append_to

UNKNOWN_CAP = 1 << 30  # bytes at most where the size is not known beforehand
_PIECE = 1 << 16


@dataclass(frozen=True)
class Rules:
    """How files are fetched.

    Args:
        schemes: Schemes of addresses that are allowed.
        public_only: Whether addresses of private networks and of this machine are refused.
        tries: Attempts for each mirror when a connection is cut.
        pause: Seconds before the second attempt; twice as long before each further one.
        timeout: Seconds without an answer after which a connection counts as cut.
        patience: Seconds to wait for another process that fetches the same data set.
    """

    schemes: tuple[str, ...] = ("https",)
    public_only: bool = True
    tries: int = 3
    pause: float = 1.0
    timeout: float = 30.0
    patience: float = 3600.0


class NextMirror(Exception):
    """This mirror cannot give the file; the text says why."""


class CutOff(Exception):
    """The connection ended too early; what came is kept."""


def transfer(url: str, part: Path, size: int, rules: Rules) -> None:
    """Fetch ``url`` into ``part``, going on after the bytes that are there already.

    Args:
        url: The address.
        part: The partial file; it grows as bytes arrive and is never whole by its name.
        size: Bytes expected, 0 if not known.
        rules: What is allowed.

    Raises:
        NextMirror: If this mirror will not do.
        CutOff: If the connection ended before the last byte.
    """
    check_address(url, rules)
    have = part.stat().st_size if part.is_file() else 0
    if size and have == size:
        return
    if size and have > size:
        have = 0
    headers = {"User-Agent": "lamina", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    with _answer(urllib.request.Request(url, headers=headers), part, have, rules) as response:
        start = have if response.status == 206 and _continues(response.headers, have) else 0
        if response.status == 206 and start != have:
            raise NextMirror("sent another piece of the file than was asked for")
        if response.headers.get_content_type() in {"text/html", "application/xhtml+xml"}:
            raise NextMirror("sent a web page instead of the file")
        body = _Body(response, size or UNKNOWN_CAP, start)
        announced = _length(response.headers)
        if announced is not None and start + announced > body.cap:
            raise NextMirror(f"announces {start + announced:,} bytes, {body.cap:,} are allowed")
        first = next(body, b"")
        if start == 0 and first.lstrip()[:5].lower() in {b"<!doc", b"<html", b"<?xml"}:
            raise NextMirror("sent a web page instead of the file")
        append_to(part, _chain(first, body), after=start)
        if body.too_much:
            append_to(part, b"", after=0)
            raise NextMirror(f"sent more than the {body.cap:,} bytes allowed")
        end = size or (start + announced if announced is not None else body.count)
        if body.failure or body.count < end:
            why = f" ({body.failure})" if body.failure else ""
            raise CutOff(f"cut after {body.count:,} of {end:,} bytes{why}")


def _answer(request: urllib.request.Request, part: Path, have: int, rules: Rules) -> http.client.HTTPResponse:
    # Ask, and turn every refusal into what it means for the transfer.
    try:
        response: http.client.HTTPResponse = _opener(rules).open(request, timeout=rules.timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and have:
            append_to(part, b"", after=0)
            raise CutOff("the server has no more bytes than are here; beginning anew") from error
        raise NextMirror(f"answered {error.code} {shown(error.reason)}") from error
    except urllib.error.URLError as error:
        raise NextMirror(_cause(error.reason)) from error
    except (OSError, http.client.HTTPException) as error:
        raise NextMirror(_cause(error)) from error
    return response


def check_address(url: str, rules: Rules) -> None:
    """Refuse an address that the rules do not allow.

    Raises:
        NextMirror: With the reason.
    """
    parts = urlsplit(url)
    if parts.scheme not in rules.schemes or not parts.hostname:
        raise NextMirror(f"leads to {shown(parts.scheme or url)}://, only {' and '.join(rules.schemes)} is allowed")
    if not rules.public_only:
        return
    try:
        addresses = [parts.hostname] if _is_literal(parts.hostname) else []
        if not addresses and not urllib.request.getproxies():  # behind a proxy names need not resolve here
            found = socket.getaddrinfo(parts.hostname, parts.port or 443, type=socket.SOCK_STREAM)
            addresses = [str(one[4][0]) for one in found]
    except (OSError, ValueError) as error:
        raise NextMirror(_cause(error)) from error
    for address in addresses:
        if not ipaddress.ip_address(address.split("%")[0]).is_global:
            raise NextMirror(f"leads to {shown(parts.hostname)} ({address}), an address that is not public")


class _Body(Iterator[bytes]):
    """The bytes of an answer; a broken connection ends it quietly and is remembered."""

    def __init__(self, response: IO[bytes], cap: int, start: int) -> None:
        self.cap, self.count = cap, start
        self.failure, self.too_much = "", False
        self._response = response

    def __next__(self) -> bytes:
        if self.too_much or self.failure:
            raise StopIteration
        try:
            piece = self._response.read(_PIECE)
        except (OSError, http.client.HTTPException) as error:
            self.failure = _cause(error)
            raise StopIteration from error
        if not piece:
            raise StopIteration
        if self.count + len(piece) > self.cap:
            self.too_much = True
            raise StopIteration
        self.count += len(piece)
        return piece


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest


class _CheckedRedirect(urllib.request.HTTPRedirectHandler):
    """Holds every redirection to the rules."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def redirect_request(  # noqa: PLR0917 (the base class calls it so)
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        check_address(newurl, self._rules)
        return super().redirect_request(req, fp, code, msg, headers, newurl)

    def http_error_302(self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any) -> Any:
        target = headers.get("location") or headers.get("uri") or ""
        scheme = urlsplit(target).scheme
        if scheme and scheme not in self._rules.schemes:  # urllib would refuse some of these with a bare HTTP error
            raise NextMirror(f"leads to {shown(scheme)}://, only {' and '.join(self._rules.schemes)} is allowed")
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def _opener(rules: Rules) -> urllib.request.OpenerDirector:
    """Return an opener that knows nothing but the schemes allowed (no file:, ftp:, data:)."""
    opener = urllib.request.OpenerDirector()
    handlers: list[urllib.request.BaseHandler] = [
        urllib.request.ProxyHandler(),
        urllib.request.HTTPSHandler(context=ssl.create_default_context()),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
        _CheckedRedirect(rules),
    ]
    if "http" in rules.schemes:
        handlers.append(urllib.request.HTTPHandler())
    for handler in handlers:
        opener.add_handler(handler)
    return opener


def _cause(error: object) -> str:
    # Say what went wrong with a connection.
    if isinstance(error, ssl.SSLError):
        reason = getattr(error, "verify_message", "") or error.reason or error
        today = time.strftime("%d %B %Y")
        return f"its certificate is not accepted: {shown(reason)} (this machine's clock says {today}; is that right?)"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, socket.gaierror):
        return "its name cannot be resolved"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return shown(error)


def _continues(headers: Message, have: int) -> bool:
    return headers.get("Content-Range", "").strip().startswith(f"bytes {have}-")


def _length(headers: Message) -> int | None:
    text = headers.get("Content-Length", "").strip()
    return int(text) if text.isdecimal() and len(text) < 19 else None


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
