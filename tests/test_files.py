from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picogpt.errors import PicoGPTError, listed, shown
from picogpt.files import read_object, read_parts, read_text, replacing, write_text
from picogpt.tokenizers import CharTokenizer, WordTokenizer
from picogpt.tokenizers.bpe import WORD
from tests.tokenizers.strategies import texts


@settings(deadline=None, derandomize=True)
@given(text=texts, n_bytes=st.integers(1, 20))
def test_parts_end_between_words(tmp_path_factory: pytest.TempPathFactory, text: str, n_bytes: int) -> None:
    """A corpus that is read in parts must have the words that it has as a whole, white space among them."""
    path = tmp_path_factory.mktemp("corpus") / "text"
    path.write_bytes(text.encode())
    parts = list(read_parts(path, n_bytes))
    assert "".join(parts) == text == read_text(path)
    for split in WORD.findall, WordTokenizer.split, CharTokenizer.split:
        assert [word for part in parts for word in split(part)] == split(text)


@pytest.mark.parametrize("n_bytes", range(1, 9))
@pytest.mark.parametrize("text", [b"a \xe2\x82\xac \xe2\x82", b"ab cdef\xff x", b"a \xc3\xa9\xc3\xa9\x80."])
def test_the_place_of_an_error_does_not_depend_on_the_parts(tmp_path: Path, text: bytes, n_bytes: int) -> None:
    """A character may begin in one part and break in the next."""
    with pytest.raises(UnicodeDecodeError) as error:
        text.decode()
    start = error.value.start
    (tmp_path / "text").write_bytes(text)
    with pytest.raises(PicoGPTError, match=rf"text is not UTF-8: byte {text[start]:#04x} at offset {start}$"):
        list(read_parts(tmp_path / "text", n_bytes))


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    write_text(path, "é\r\n")
    write_text(path, "x\n")
    assert path.read_bytes() == b"x\n"
    assert list(path.parent.iterdir()) == [path]


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PicoGPTError, match=r"cannot write .*file: File exists"):
        write_text(tmp_path / "file" / "below", "x")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"missing: .*config\.json; the model is not complete, download or copy it again$"),
        (b'{"a": 1', r"config\.json is not JSON: .* at line 1, column 8; is it complete\?$"),
        (b"[1]", r"config\.json should hold a JSON object, not list$"),
        (b"\xff", r"config\.json is not UTF-8: byte 0xff at offset 0$"),
        (b'{"a": ' + b"[" * 16 + b"]" * 16 + b"}", r"has more than 16 lists and objects within each other$"),
        (b" " * 9000 + b"[" * 1000 + b"]" * 1000, r"has more than 16 lists and objects within each other$"),
        (b" " * 900_000 + b"[" * 50_000, r"has more than 16 lists and objects within each other$"),
        (b'{"a": [' + b"[]," * 300_000 + b"0]}", r"config\.json has too many lists and objects$"),
        (b'{"a": ' + b"9" * 5000 + b"}", r"config\.json has JSON that is not read: .*4300 digits"),
        (b'{"a": NaN}', r"has JSON that is not read: 'NaN' is not a finite number$"),
        (b'{"a": [-Infinity]}', r"has JSON that is not read: '-Infinity' is not a finite number$"),
        (b'{"a": 1e999}', r"has JSON that is not read: '1e999' is not a finite number$"),
        (b'{"a": 1, "b": 2, "a": 1}', r"has JSON that is not read: an object has the key 'a' twice$"),
        (b" " * (1 << 20) + b"{}", r"config\.json has 1,048,578 bytes, and no such file has more than 1,048,576$"),
    ],
)
def test_a_file_without_an_object_is_told(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "config.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PicoGPTError, match=message):
        read_object(path)


def test_json_may_be_as_deep_as_it_ever_is(tmp_path: Path) -> None:
    content = b'{"a": ' + b"[" * 15 + b"-0.5e-9, " + b"9" * 4000 + b"]" * 15 + b"}"
    (tmp_path / "config.json").write_bytes(content)
    assert read_object(tmp_path / "config.json") == json.loads(content)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a\n\x1b", r"'a\n\x1b'"),
        ("x" * 10**6, "'" + "x" * 37 + "..." + "x" * 38 + "'"),
        (10**4400, "a number of thousands of digits"),
        ([[[[[[[[[]]]]]]]]], "[[[[[[[...]]]]]]]"),
    ],
    ids=["control", "long", "digits", "deep"],
)
def test_a_value_is_shown_in_one_short_line(value: object, expected: str) -> None:
    assert shown(value) == expected


def test_many_names_are_listed_in_part() -> None:
    assert listed(["a", "b\n"]) == r"a, 'b\n'"
    assert listed(map(str, range(22))) == ", ".join(map(str, range(20))) + " and 2 more"


def test_what_breaks_off_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "old")

    def interrupted() -> None:
        with replacing(path) as file:
            file.write(b"ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]
