"""`POST /inside`: what `picogpt inside` shows, and the values themselves, in JSON or as bytes."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from picogpt.errors import PicoGPTError
from picogpt.files import without_nan
from picogpt.inspection.look import Question
from picogpt.inspection.names import OF_EACH_HEAD, check_heads, check_layers, select
from picogpt.inspection.patching import KINDS
from picogpt.inspection.targets import check_same_shape, token_id
from picogpt.inspection.trace import Trace
from picogpt.ranges import at_least, between
from picogpt.server import fields
from picogpt.server.errors import bad
from picogpt.server.fields import REQUIRED, Field
from picogpt.server.log import note
from picogpt.server.reading import read_request
from picogpt.server.served import Served
from picogpt.server.work import in_engine, look, patch
from picogpt.types import Array

VALUES_HEADER = "Picogpt-Values"  # of an answer in bytes: which values, in which shapes
BINARY = 64  # as many numbers fit into an answer in bytes as into one in JSON, this often
DTYPES = ("float16", "float32", "uint8")  # the last for shares from 0 to 1, in steps of 1/255


def token(name: str, value: Any) -> str | int:
    """A token: its id, or a text that is one."""
    return fields.text(name, value) if isinstance(value, str) else fields.whole(at_least(0))(name, value)


def head(name: str, value: Any) -> tuple[int, int]:
    pair = fields.ids(name, value)
    if len(pair) != 2:
        raise bad(f"{name} must be heads, each [layer, head]", name)
    return pair[0], pair[1]


VALUE = (Field("name", fields.text, REQUIRED), Field("head", fields.whole(at_least(0))))
ABLATE = (Field("heads", fields.list_of(head), ()), Field("mlps", fields.ids, ()))
PATCH = (
    Field("clean", fields.prompt, REQUIRED),
    Field("target", token, REQUIRED),
    Field("foil", token),
    Field("kinds", fields.list_of(fields.one_of(*KINDS)), KINDS),
)
INSIDE = (
    Field("model", fields.text),
    Field("prompt", fields.prompt, REQUIRED),
    Field("show", fields.list_of(fields.one_of("lens", "heads", "shapes"))),
    Field("k", fields.whole(between(1, 100)), 3),
    Field("attention", head),
    Field("attribution", token),
    Field("ablate", fields.nested(ABLATE), {"heads": (), "mlps": ()}),
    Field("values", fields.list_of(fields.nested(VALUE)), ()),
    Field("dtype", fields.one_of(*DTYPES), "float16"),
    Field("patch", fields.nested(PATCH)),
)


async def inside(request: Request) -> Response:
    served, asked = await read_request(request, INSIDE)
    ids = await served.encode(asked["prompt"])
    note(request).n_prompt = len(ids)
    if asked["patch"] is not None:
        return await patched(request, served, ids, asked["patch"])
    is_binary = "application/octet-stream" in request.headers.get("accept", "")
    question = read_question(served, asked)
    check_size(served, question, asked, len(ids), is_binary)
    report, values = await in_engine(request, served, look(served.model, ids, question))
    chosen = {value_key(value): chosen_value(values, value) for value in asked["values"]}
    if is_binary:
        return in_bytes(chosen, asked["dtype"])
    if chosen:
        report["values"] = {key: {"shape": array.shape, "data": array.tolist()} for key, array in chosen.items()}
    return JSONResponse(without_nan(report))


def read_question(served: Served, asked: dict[str, Any]) -> Question:
    """What is asked; raises a 400 for a layer, a head, a value or a token that does not exist."""
    n_layer, n_head = served.model.hparams["n_layer"], served.model.hparams["n_head"]
    ablate, attention = asked["ablate"], asked["attention"]
    chosen = attention or asked["attribution"] is not None or any(ablate.values()) or asked["values"]
    show = asked["show"] if asked["show"] is not None else [] if chosen else ["lens"]
    names = [value["name"] for value in asked["values"]]
    try:
        check_heads([*ablate["heads"], *([attention] if attention else [])], n_layer, n_head)
        check_layers(ablate["mlps"], n_layer)
        for value in asked["values"]:
            if len(select(value["name"], n_layer)) > 1:
                raise bad("a value must have its whole name, without a *", "values")
            if (value["head"] or 0) >= n_head:
                check_heads([(0, value["head"])], n_layer, n_head)
    except PicoGPTError as error:
        raise bad(str(error)) from None
    return Question(
        k=min(asked["k"], served.n_vocab),
        lens="lens" in show,
        attention=attention,
        heads="heads" in show,
        target=None if asked["attribution"] is None else read_token(served, "attribution", asked["attribution"]),
        ablated_heads=ablate["heads"],
        ablated_mlps=ablate["mlps"],
        shapes="shapes" in show,
        values=names,
    )
