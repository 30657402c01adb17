"""`POST /inside/views`: what the page's views show, each asking for that alone; `looks` has the answers.

`show` names rows, which come as JSON, and `array` one array, which comes in NumPy's own format.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from picogpt.files import without_nan
from picogpt.server import fields
from picogpt.server.errors import bad
from picogpt.server.fields import REQUIRED, Field
from picogpt.server.inside import ABLATE
from picogpt.server.log import note
from picogpt.server.looks import Looks, Pass
from picogpt.server.reading import read_request
from picogpt.server.work import in_engine

EXACT = 1 << 18  # numbers up to which an array is float32; more of them are for the eye, and float16
LARGEST = 65504.0  # in float16


def objects(name: str, value: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(value, dict) or not all(isinstance(part, dict) for part in value.values()):
        raise bad(f'{name} must be an object of objects, such as {{"tokens": {{}}}}', name)
    return value


def an_object(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise fields.wrong(name, "an object", value)
    return value


VIEWS = (
    Field("model", fields.text),
    Field("prompt", fields.prompt, REQUIRED),
    Field("ablate", fields.nested(ABLATE), {"heads": (), "mlps": ()}),
    Field("show", objects, {}),
    Field("array", an_object),
)


async def views(request: Request) -> Response:
    served, asked = await read_request(request, VIEWS)
    ids = await served.encode(asked["prompt"])
    note(request).n_prompt = len(ids)
    heads, mlps = asked["ablate"]["heads"], asked["ablate"]["mlps"]
    of = Pass(tuple(ids), tuple(sorted({*heads})), tuple(sorted({*mlps})))
    looks: Looks = request.app.state.looks
    if asked["array"] is None:
        return JSONResponse(without_nan(await in_engine(request, served, looks.answer(of, asked["show"]))))
    array = await in_engine(request, served, looks.array(of, asked["array"]))
    return Response(npy(array), media_type="application/octet-stream")


def npy(array: npt.NDArray[Any]) -> bytes:
    """The array as an .npy file: bytes as they are, the rest in single precision or, where there is much, in half."""
    if array.dtype != np.uint8:
        is_exact = array.size <= EXACT
        array = array.astype("<f4") if is_exact else np.clip(array, -LARGEST, LARGEST).astype("<f2")
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
    return file.getvalue()
