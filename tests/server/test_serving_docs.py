"""docs/serving.md tells the truth: its requests are sent, and what it shows of the answers is there."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from picogpt.server.chat_template import PLAIN, read_template
from tests.server.running import Running, post, running, serve_model, shakespeare

TEXT = (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```sh\n(curl [^\n]*)\n```\n\n```json\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
ADDRESS = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(serve_model(shakespeare())) as server:
        yield server


def is_part(shown: Any, answer: Any) -> bool:
    """Whether everything that is shown is in the answer."""
    if isinstance(shown, dict):
        return all(key in answer and is_part(value, answer[key]) for key, value in shown.items())
    if isinstance(shown, list):
        return len(shown) == len(answer) and all(map(is_part, shown, answer))
    return bool(shown == answer)


@pytest.mark.parametrize(("command", "shown"), EXAMPLES, ids=range(len(EXAMPLES)))
def test_requests_are_answered_as_shown(server: Running, command: str, shown: str) -> None:
    curl, url, option, body = shlex.split(command)
    assert (curl, option) == ("curl", "-d")
    answer = post(url.replace(ADDRESS, server.url), content=body).json()
    assert is_part(json.loads(shown), answer), answer


def test_the_python_example_runs(server: Running, capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"^```py\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(example.replace(ADDRESS, server.url), names)
    names["client"].close()
    assert capsys.readouterr().out == shakespeare().generate("ROMEO:", 40, seed=1)


def test_there_are_several_examples() -> None:
    assert len(EXAMPLES) >= 4


def test_the_template_that_is_shown_is_the_plain_one(tmp_path: Path) -> None:
    (shown,) = (block for block in re.findall(r"^```json\n(.*?)^```$", TEXT, re.M | re.S) if '"assistant"' in block)
    path = tmp_path / "plain.json"
    path.write_text(shown, encoding="utf-8")
    assert read_template(str(path)) == PLAIN


def test_every_option_that_is_named_is_there() -> None:
    from picogpt.cli.serve import parser

    known = {flag for action in parser()._actions for flag in action.option_strings}
    assert {*re.findall(r"`(--[a-z-]+)", TEXT)} <= known


def test_every_route_is_named() -> None:
    from picogpt.server.app import ROUTES

    paths = [route.path.replace("{name:path}", "{id}") for route in ROUTES]
    assert [path for path in paths if path not in ("/", "/page/{id}") and path not in TEXT] == []
