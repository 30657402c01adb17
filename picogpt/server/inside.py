"""`POST /inside`: what `picogpt inside` shows, and the values themselves, in JSON or as bytes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from picogpt.errors import PicoGPTError
from picogpt.files import without_nan
from picogpt.inspection.look import Question
from picogpt.inspection.names import check_heads, check_layers, select
from picogpt.inspection.patching import KINDS
from picogpt.inspection.targets import check_same_shape, token_id
from picogpt.inspection.trace import OF_EACH_HEAD, Trace
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


def read_token(served: Served, name: str, given: str | int) -> int:
    """A token's id; raises a 400 for a text that is not one token, and for an id that there is not."""
    if isinstance(given, str):
        try:
            return token_id(served.model.encoder, given)
        except PicoGPTError as error:
            raise bad(str(error), name) from None
    if given >= served.n_vocab:
        raise bad(f"{name} must be an id below {served.n_vocab}, not {given}", name)
    return given


def check_size(served: Served, question: Question, asked: dict[str, Any], n_seq: int, is_binary: bool) -> None:
    """Raises a 400 where the answer, or what must be kept for it, would be too large."""
    limits, n_layer, n_head = served.limits, served.model.hparams["n_layer"], served.model.hparams["n_head"]
    kept = select(list(question.names()), n_layer)
    if (n_bytes := 4 * sum(n_numbers(served, name, n_seq) for name in kept)) > limits.n_traced:
        message = f"the values would take {n_bytes >> 20} MB, more than {limits.n_traced >> 20}; shorten the prompt"
        raise bad(f"{message}, or ask for fewer", "prompt")
    n_values = sum(
        n_numbers(served, value["name"], n_seq) // (1 if value["head"] is None else n_head) for value in asked["values"]
    )
    if is_binary and not asked["values"]:
        raise bad("an answer in bytes has values: name them", "values")
    if not is_binary:
        n_values += n_layer * n_seq * question.k * question.lens
        n_values += n_layer * n_head * n_seq**2 * question.heads + n_seq**2 * bool(question.attention)
    most = limits.n_values * (BINARY if is_binary else 1)
    if n_values > most:
        hint = (
            "ask for fewer" if is_binary else "ask for fewer, or for values alone with Accept: application/octet-stream"
        )
        raise bad(f"the answer would have {n_values} numbers, more than {most}; {hint}", "values")


def n_numbers(served: Served, name: str, n_seq: int) -> int:
    """How many numbers a value has."""
    n_head, n_embd = served.model.hparams["n_head"], served.model.hparams["n_embd"]
    if name.endswith(("attn.scores", "attn.pattern")):
        return n_head * n_seq**2
    if ".mlp.p" in name:  # pre and post
        return n_seq * len(served.model.params["blocks"][0]["mlp"]["c_fc"]["b"])
    return n_seq * (served.n_vocab if name == "logits" else n_embd)


def value_key(value: dict[str, Any]) -> str:
    return value["name"] if value["head"] is None else f"{value['name']}[{value['head']}]"


def chosen_value(values: Trace, value: dict[str, Any]) -> Array:
    """A value, or one head's part of it."""
    array, i = values[value["name"]], value["head"]
    if i is None:
        return array
    if value["name"].endswith(OF_EACH_HEAD):
        return array[:, i]
    if value["name"].endswith(("attn.scores", "attn.pattern")):
        return array[i]
    raise bad(f"{value['name']} is not of each head; leave out the head", "values")


def in_bytes(chosen: dict[str, Array], dtype: str) -> Response:
    """The values one after the other, each in C order and little-endian; a header has their names and shapes.

    What a float16 cannot hold is infinite, such as a score that the mask hides.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        parts = [as_dtype(array, dtype).tobytes() for array in chosen.values()]
    header = json.dumps([{"name": key, "shape": array.shape, "dtype": dtype} for key, array in chosen.items()])
    return Response(b"".join(parts), media_type="application/octet-stream", headers={VALUES_HEADER: header})


def as_dtype(array: Array, dtype: str) -> Any:
    if dtype == "uint8":
        return np.rint(255 * np.clip(array, 0, 1)).astype(np.uint8)
    return array.astype(np.dtype(dtype).newbyteorder("<"))


async def patched(request: Request, served: Served, ids: Sequence[int], asked: dict[str, Any]) -> Response:
    """How far each value of the clean prompt, put into the pass over this one, brings the clean answer back."""
    clean = await served.encode(asked["clean"], "patch.clean")
    target = read_token(served, "patch.target", asked["target"])
    foil = None if asked["foil"] is None else read_token(served, "patch.foil", asked["foil"])
    try:
        check_same_shape(np.array(clean), np.array(ids))
        found = await in_engine(request, served, patch(served.model, clean, ids, target, foil, asked["kinds"]))
    except PicoGPTError as error:
        raise bad(str(error), "patch") from None
    restored = {kind: array.tolist() for kind, array in found.restored.items()}
    return JSONResponse(without_nan({"clean": found.clean, "corrupted": found.corrupted, "restored": restored}))
