"""Errors in the form that OpenAI's clients read: `{"error": {"message", "type", "param", "code"}}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse, Response

from picogpt.errors import printable

TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error"}  # of other 4xx: the request's


class ApiError(Exception):
    """The answer to a request that cannot be fulfilled; the message is one line that says what to do."""

    def __init__(
        self,
        status: int,
        message: str,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(printable(message))
        self.status, self.param, self.code, self.headers = status, param, code, headers

    @property
    def content(self) -> dict[str, Any]:
        kind = TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}

    @property
    def response(self) -> Response:
        return JSONResponse(self.content, self.status, self.headers)


def bad(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """What most errors are: a request that makes no sense."""
    return ApiError(400, message, param, code)
