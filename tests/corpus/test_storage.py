"""Files by pattern and address, and parts that are whole or not there."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from picogpt.cli import main
from picogpt.corpus import storage
from picogpt.corpus.partitions import Part, parts_of
from picogpt.errors import PicoGPTError


def score(*arguments: str | Path, status: int = 0) -> None:
    assert main(["score", *map(str, arguments), "--model", "shakespeare"]) == status


def test_parts_are_whole_or_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that ends in the midst leaves no file by the name of a part, and the next makes those that lack."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text("text,n\nTo be,1\nor not,2\n")
    keep = storage.keep

    def full(finished: Path, target: str) -> None:
        if target.endswith("b.jsonl"):
            raise PicoGPTError("the disk is full")
        keep(finished, target)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "keep", full)
        score(tmp_path / "*.csv", "--output-dir", tmp_path / "out", "--workers", "1", status=2)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.jsonl", "meta.json"]
    (tmp_path / "out" / "a.jsonl").write_text("kept\n")
    score(tmp_path / "*.csv", "--output-dir", tmp_path / "out", "--workers", "1")
    assert (tmp_path / "out" / "a.jsonl").read_text() == "kept\n"
    rows = [json.loads(line) for line in (tmp_path / "out" / "b.jsonl").read_text().splitlines()]
    assert [(row["line"], row["n"], row["model"]) for row in rows] == [(2, "1", "shakespeare"), (3, "2", "shakespeare")]
    capsys.readouterr()
    score(tmp_path / "*.csv", "--output-dir", tmp_path / "out", "--nats", status=2)
    assert "unit was 'bits' and is 'nats'; name another one" in capsys.readouterr().err


def test_a_part_whose_rows_lack_the_column_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.jsonl").write_text('{"txt": "To be"}\n')
    score(tmp_path / "a.jsonl", "--output-dir", tmp_path / "out", status=2)
    assert "a.jsonl has no column 'text'; its columns are txt" in capsys.readouterr().err
    assert not (tmp_path / "out" / "a.jsonl").exists()


def test_addresses_and_compressed_files(tmp_path: Path) -> None:
    """Through fsspec, to a file system in memory."""
    import fsspec

    memory = fsspec.filesystem("memory")
    with memory.open("/corpus/a.jsonl.gz", "wb") as file:
        file.write(gzip.compress(b'{"text": "To be", "n": 1}\n'))
    memory.pipe_file("/corpus/b.txt", b"or not\n")
    arguments = ["--output-dir", "memory://rows", "--parquet", "--words"]
    score("memory://corpus/*.gz", *arguments)
    score("memory://corpus/b.txt", "--format", "jsonl", *arguments, status=2)
    import pyarrow.parquet

    with memory.open("/rows/a.parquet", "rb") as file:
        table = pyarrow.parquet.read_table(file).to_pydict()
    assert (table["word"], table["n"], table["index"]) == (["To", "be"], [1, 1], [0, 1])
    assert sorted(memory.ls("/rows", detail=False)) == ["/rows/a.parquet", "/rows/meta.json"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x.txt", "--output-dir", "out", "--resume"], "goes on by itself"),
        (["x.txt", "--output-dir", "out", "--csv"], "are --jsonl or --parquet"),
        (["--output-dir", "out"], "name the inputs"),
        (["x.txt", "--output-dir", "out", "--output", "x.csv"], "leave one of the two out"),
        (["no-*.txt", "--output-dir", "out"], "there is no file no-*.txt"),
        (["lost.txt", "--output-dir", "out"], "lost.txt cannot be read"),
        (["nonsense://x/*", "--output-dir", "out"], "nonsense://x/* cannot be read"),
        (["a b", "--parquet"], "say --output FILE.parquet"),
        (["a b", "c d", "--workers", "0"], "--workers must be at least 1"),
        (["a b", "c d", "--workers", "2", "--dask", "tcp://x:1"], "has workers of its own"),
    ],
)
def test_mistakes_get_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    score(*arguments, status=2)
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_two_inputs_do_not_become_one_file() -> None:
    assert parts_of(["s3://x/a.jsonl.gz", "b.txt", "c"], "s3://y/", "jsonl") == [
        Part("s3://x/a.jsonl.gz", "s3://y/a.jsonl"),
        Part("b.txt", "s3://y/b.jsonl"),
        Part("c", "s3://y/c.jsonl"),
    ]
    with pytest.raises(PicoGPTError, match=r"several inputs would become a\.jsonl"):
        parts_of(["x/a.txt", "y/a.csv"], "out", "jsonl")
