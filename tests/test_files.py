from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picogpt.errors import PicoGPTError
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
    ],
)
def test_a_file_without_an_object_is_told(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "config.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PicoGPTError, match=message):
        read_object(path)


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
