"""Asking a server for a file: patience, and errors that say what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

import requests
import urllib3
from requests import Response, Session
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError, NameResolutionError

from picogpt.errors import NetworkError, PicoGPTError


class RetryPolicy(NamedTuple):
    """How patient to be. Times in seconds."""

    tries: int = 6  # in a row, without one new byte
    backoff: float = 0.5  # before the second try, doubled before each further one
    timeout: tuple[float, float] = (10.0, 30.0)  # to connect, and for every read
    chunk_size: int = 1 << 20


class BrokenTransferError(Exception):
    """A try failed in a way that the next one may not."""


class Retry(urllib3.Retry):
    """urllib3's, which waits as long as a server's Retry-After says, but not for hours."""

    LONGEST_WAIT = 60.0

    def get_retry_after(self, response: urllib3.BaseHTTPResponse) -> float | None:
        seconds = super().get_retry_after(response)
        return None if seconds is None else min(seconds, self.LONGEST_WAIT)


def open_session(policy: RetryPolicy) -> Session:
    """A session that asks again while a server is busy (429, 5xx) or connections fail before an answer begins."""
    retry = Retry(
        total=policy.tries - 1,
        connect=min(2, policy.tries - 1),
        status_forcelist=(429, 500, 502, 503, 504),
        backoff_factor=policy.backoff,
        raise_on_status=False,
    )
    session = Session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    session.headers.update({"Accept-Encoding": "identity", "User-Agent": "picogpt"})
    return session


def remote_size(url: str, session: Session, policy: RetryPolicy) -> int | None:
    """How many bytes the server says the file has, if it can be asked and does."""
    try:
        headers = session.head(url, allow_redirects=True, timeout=policy.timeout).headers
    except requests.RequestException:
        return None
    length = headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None


def get(url: str, session: Session, headers: dict[str, str], policy: RetryPolicy) -> Response:
    """Send the request. Raises `NetworkError` when there is no answer, `PicoGPTError` when asking again is no use."""
    try:
        return session.get(url, headers=headers, stream=True, timeout=policy.timeout)
    except requests.exceptions.SSLError as error:
        raise PicoGPTError(
            f"{url}: the server's certificate is not trusted ({reason(error)}); check the clock, "
            f"or set REQUESTS_CA_BUNDLE to the file with your proxy's certificate"
        ) from error
    except (requests.exceptions.MissingSchema, requests.exceptions.InvalidSchema) as error:
        raise PicoGPTError(f"{url} is no address; it must begin with https:// or http://") from error
    except requests.exceptions.InvalidURL as error:
        raise PicoGPTError(f"{url} is no address: {reason(error)}") from error
    except requests.RequestException as error:
        if isinstance(cause(error), NameResolutionError):
            raise PicoGPTError(
                f"{url}: there is no host {urlsplit(url).hostname}; check the address and the network"
            ) from error
        raise NetworkError(f"{url}: {reason(error)}; run the same command again later") from error


def read(response: Response, chunk_size: int) -> Iterator[bytes]:
    """The body, each piece as soon as it is here, so that a break loses nothing of what came before."""
    try:
        while chunk := response.raw.read1(chunk_size, decode_content=False):
            yield chunk
    except (HTTPError, OSError) as error:
        raise BrokenTransferError(f"the connection broke ({reason(error)})") from error


def content_range(response: Response) -> tuple[int | None, int | None]:
    """The first byte and the whole length in a Content-Range: `bytes 5-9/10`, or `bytes */10`."""
    found = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+)", response.headers.get("Content-Range", ""))
    return (int(found[1]) if found[1] else None, int(found[2])) if found else (None, None)


def cause(error: BaseException) -> BaseException:
    """What is within the wrappings of requests and urllib3."""
    inner = getattr(error, "reason", None) or (error.args[0] if error.args else None)
    return cause(inner) if isinstance(inner, BaseException) else error


def reason(error: BaseException) -> str:
    """The cause in words, without the Python object that urllib3 puts before them."""
    return re.sub(r"^(<.*?>|\w+\(.*?\)): ", "", str(cause(error)))
