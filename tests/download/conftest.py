from __future__ import annotations

from collections.abc import Iterator

import pytest

from picogpt.download import http
from tests.download.server import Server, serving


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as server, pytest.MonkeyPatch.context() as patch:
        patch.setattr(http, "LONGEST_WAIT", 0)  # a Retry-After is honoured, and here does not last
        yield server
