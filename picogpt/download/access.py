"""Where Hugging Face's hub is, and the token that it is shown, and no other server."""

from __future__ import annotations

import os
from urllib.parse import SplitResult, urlsplit

from requests import PreparedRequest
from requests.auth import AuthBase

from picogpt.errors import PicoGPTError

HUB = "https://huggingface.co"
REFUSED = (401, 403)
ASK_FOR_IT = "set HF_TOKEN to a token that may read it, and accept its terms on its page where there are any"


class Bearer(AuthBase):
    """Adds the token to one request, where no message and no repr shows it."""

    def __init__(self, token: str) -> None:
        self.token = token

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self.token}"
        return request


def endpoint() -> str:
    """The hub's address: $HF_ENDPOINT, else Hugging Face's own."""
    return (os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")


def authorization(url: str) -> Bearer | None:
    """What goes along with a request to `url`: $HF_TOKEN where that is the hub itself, else nothing.

    It is asked at every step of a redirect. Raises `PicoGPTError` for a token that cannot be sent.
    """
    token = os.environ.get("HF_TOKEN", "").strip()
    if not token or not is_hub(url):
        return None
    if not (token.isascii() and token.isprintable()):  # a library's message would quote it
        raise PicoGPTError("HF_TOKEN is no token: it has characters that cannot be sent; copy it again")
    return Bearer(token)


def is_hub(url: str) -> bool:
    try:
        return server(urlsplit(url)) == server(urlsplit(endpoint()))
    except (ValueError, KeyError):
        return False


def server(address: SplitResult) -> tuple[str, str | None, int]:
    """Scheme, host and port; raises ValueError or KeyError where there are none."""
    return address.scheme, address.hostname, address.port or {"http": 80, "https": 443}[address.scheme]
