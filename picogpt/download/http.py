"""Asking a server for a file: patience, and errors that say what to do.

Nothing that a server sends is trusted: of an answer that is not the file only the head is read, a redirect is followed
here and never from https to http, a token goes to the server that it is for, and no message has a password or a control
character in it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from http.client import HTTPException
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit, urlunsplit

import requests
import urllib3
from requests import PreparedRequest, Response, Session
from requests.adapters import HTTPAdapter
from requests.exceptions import InvalidSchema, InvalidURL, MissingSchema, SSLError
from urllib3.exceptions import HTTPError, LocationValueError, NameResolutionError

from picogpt.download.access import authorization, server
from picogpt.errors import NetworkError, PicoGPTError, printable

BUSY = (429, 500, 502, 503, 504)
MOVED = (301, 302, 303, 307, 308)
MOST_REDIRECTS = 10
LONGEST_WAIT = 60.0  # seconds, whatever a server's Retry-After says
MOST_DIGITS = 15  # of a length that is taken for one; a petabyte
REASON_SIZE = 200  # characters of what a server says, in a message


class RetryPolicy(NamedTuple):
    """How patient to be. Times in seconds."""

    tries: int = 6  # in a row, without one new byte
    backoff: float = 0.5  # before the second try, doubled before each further one
    timeout: tuple[float, float] = (10.0, 30.0)  # to connect, and for every read
    chunk_size: int = 1 << 20


class BrokenTransferError(Exception):
    """A try failed in a way that the next one may not."""


class DirectSession(Session):
    """requests' session, which even without following a redirect would read its body, and inflate it."""

    def get_redirect_target(self, resp: Response) -> None:
        return None


def open_session(policy: RetryPolicy) -> Session:
    """A session that tries again when connections fail before an answer begins."""
    retry = urllib3.Retry(
        total=policy.tries - 1,
        connect=min(2, policy.tries - 1),
        backoff_factor=policy.backoff,
        respect_retry_after_header=False,  # of a status `get` takes care: urllib3 would read the body first
    )
    session = DirectSession()
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    session.headers.update({"Accept-Encoding": "identity", "User-Agent": "picogpt"})
    return session


def remote_size(url: str, session: Session, policy: RetryPolicy) -> int | None:
    """How many bytes the server says the file has, if it can be asked and does."""
    try:
        with get(url, session, {}, policy, "HEAD") as response:
            return number(response.headers.get("Content-Length", "")) if response.status_code == 200 else None
    except PicoGPTError:
        return None


def get(url: str, session: Session, headers: dict[str, str], policy: RetryPolicy, method: str = "GET") -> Response:
    """The server's answer, which is asked for again while the server is busy (429, 5xx); its body is not read yet.

    Raises `NetworkError` when there is no answer, `PicoGPTError` when asking again is no use.
    """
    for n_failures in range(policy.tries):
        response = follow(url, session, headers, policy, method)
        if response.status_code not in BUSY or n_failures == policy.tries - 1:
            break
        response.close()
        asked = number(response.headers.get("Retry-After", ""))
        time.sleep(policy.backoff * 2**n_failures if asked is None else min(asked, LONGEST_WAIT))
    return response


def follow(url: str, session: Session, headers: dict[str, str], policy: RetryPolicy, method: str) -> Response:
    """The answer at the end of the redirects that begin at `url`; the heads of those are in its `history`."""
    history: list[Response] = []
    place = url
    while True:
        auth = authorization(place) or (anonymously if is_elsewhere(url, place) else None)
        response = ask(place, session, headers, policy, method, without_secrets(url), auth, redirected=bool(history))
        response.history = list(history)
        location = response.headers.get("Location")
        if response.status_code not in MOVED or location is None:
            return response
        response.close()
        if len(history) == MOST_REDIRECTS:
            raise NetworkError(f"{without_secrets(url)}: the server redirects more than {MOST_REDIRECTS} times")
        history.append(response)
        place = redirected(place, location, without_secrets(url))


def is_elsewhere(url: str, place: str) -> bool:
    """Whether a redirect has led to another server than that of `url`, which no name and password are meant for."""
    if place == url:
        return False
    old, new = urlsplit(url), urlsplit(place)
    return new.username is None and server(old) != server(new)


def anonymously(request: PreparedRequest) -> PreparedRequest:
    """Keeps requests from looking into .netrc, whose default is meant for any host but those of redirects."""
    return request


def redirected(place: str, location: str, shown: str) -> str:
    """Where a redirect leads. A name and password go along to the same server only, and are never the redirect's."""
    try:
        old = urlsplit(place)
        new = urlsplit(urljoin(place, location.encode("latin-1").decode("utf-8", "replace")))
        if not new.hostname:
            raise ValueError
        before, after = server(old), server(new)
    except (ValueError, KeyError):
        raise NetworkError(f"{shown}: the server redirects to what is no address") from None
    if (old.scheme, new.scheme) == ("https", "http"):
        raise NetworkError(f"{shown}: the server redirects from https to http, where anyone could change the file")
    user = old.netloc.rpartition("@")[0]
    host = new.netloc.rpartition("@")[2]
    same = after == before or (before, after) == (("http", old.hostname, 80), ("https", old.hostname, 443))
    return urlunsplit(new._replace(netloc=f"{user}@{host}" if user and same else host))


def ask(
    place: str,
    session: Session,
    headers: dict[str, str],
    policy: RetryPolicy,
    method: str,
    shown: str,
    auth: Callable[[PreparedRequest], PreparedRequest] | None,
    redirected: bool,
) -> Response:
    """One request to `place`, for what messages call `shown`; without `auth` with that of the address or .netrc."""
    try:
        return session.request(method, place, headers=headers, auth=auth, stream=True, timeout=policy.timeout)
    except SSLError as error:  # raised "from None" like those below, since a library's message quotes the whole address
        raise PicoGPTError(
            f"{shown}: the server's certificate is not trusted ({reason(error)}); check the clock, "
            f"or set REQUESTS_CA_BUNDLE to the file with your proxy's certificate"
        ) from None
    except (MissingSchema, InvalidSchema):
        raise PicoGPTError(f"{shown} is no address; it must begin with https:// or http://") from None
    except (InvalidURL, LocationValueError, UnicodeError):
        if redirected:
            raise NetworkError(f"{shown}: the server redirects to what is no address") from None
        raise PicoGPTError(
            f"{shown} is no address: check its host, its port, and the proxy's if there is one"
        ) from None
    except (requests.RequestException, HTTPError) as error:
        if isinstance(cause(error), NameResolutionError):
            host = urlsplit(place).hostname
            raise PicoGPTError(f"{shown}: there is no host {host}; check the address and the network") from None
        raise NetworkError(f"{shown}: {reason(error)}; run the same command again later") from None


def read(response: Response, chunk_size: int) -> Iterator[bytes]:
    """The body, each piece as soon as it is here, so that a break loses nothing of what came before."""
    try:
        while chunk := response.raw.read1(chunk_size, decode_content=False):
            yield chunk
    except (HTTPError, HTTPException, OSError, ValueError) as error:
        raise BrokenTransferError(f"the connection broke ({reason(error)})") from error


def number(text: str) -> int | None:
    """A length or a number of seconds in a header; what is none, or cannot be meant, is None."""
    return int(text) if re.fullmatch(rf"[0-9]{{1,{MOST_DIGITS}}}", text) else None


def content_range(response: Response) -> tuple[int | None, int | None]:
    """The first byte and the whole length in a Content-Range: `bytes 5-9/10`, or `bytes */10`."""
    found = re.fullmatch(r"bytes (?:([0-9]+)-[0-9]+|\*)/([0-9]+)", response.headers.get("Content-Range", ""))
    return (number(found[1] or ""), number(found[2])) if found else (None, None)


def without_secrets(url: str) -> str:
    """The address as messages have it: without a name and password, and without a query, which can hold a token.

    A password may have slashes and question marks in it. Where there is an @ after one of them, nobody can say where
    the password ends, and only the scheme is shown.
    """
    scheme, found, rest = url.partition("//") if "//" in url else ("", "", url)
    host, *others = re.split(r"[/?#]", rest, maxsplit=1)
    if "@" in "".join(others):
        return f"{scheme}{found}…"
    path = rest[len(host) :].partition("?")[0].partition("#")[0]
    return f"{scheme}{found}{host.rpartition('@')[2]}{path}"


def cause(error: BaseException) -> BaseException:
    """What is within the wrappings of requests and urllib3."""
    inner = getattr(error, "reason", None) or (error.args[0] if error.args else None)
    return cause(inner) if isinstance(inner, BaseException) else error


def reason(error: BaseException) -> str:
    """The cause in words, without the Python object that urllib3 puts before them."""
    return quoted(re.sub(r"^(<.*?>|\w+\(.*?\)): ", "", str(cause(error))))


def quoted(text: str) -> str:
    """What a server says, as a message has it."""
    return printable(text[:REASON_SIZE])
