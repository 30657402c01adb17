"""`picogpt score`: figures against the reference, every form of input and output, and runs that were killed."""

from __future__ import annotations

import csv
import functools
import hashlib
import io
import json
import math
import os
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import picogpt
from picogpt import pretrained, scoring
from picogpt.checkpoints.fingerprint import fingerprint
from picogpt.cli import main, score
from picogpt.cli.grid import RISING
from picogpt.cli.results import Writer, growing
from picogpt.corpus import loop
from picogpt.lock import locked
from picogpt.pretrained import GPT2
from picogpt.scoring import plot
from picogpt.tokenizers import ByteLevelBPE
from tests.texts import read_text

GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "scoring.json").read_text())
MODEL = ["--model", "shakespeare"]
BITS = 1 / math.log(2)


class Run:
    """Runs `picogpt score` in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.capsys, self.monkeypatch = capsys, monkeypatch

    def __call__(self, *arguments: str | Path, input: bytes | None = None, status: int = 0) -> tuple[str, str]:
        stdin = io.TextIOWrapper(io.BytesIO(input or b""))
        self.monkeypatch.setattr(sys, "stdin", stdin)
        assert main(["score", *map(str, arguments), *MODEL]) == status
        captured = self.capsys.readouterr()
        if status:
            assert captured.err.startswith("picogpt")
            assert captured.err.count("\n") == 1
        return captured.out, captured.err

    def table(self, *arguments: str | Path, **options: Any) -> list[dict[str, str]]:
        lines = io.StringIO(self(*arguments, "--tsv", **options)[0], newline="")
        return list(csv.DictReader(lines, dialect="excel-tab", strict=True))

    def objects(self, *arguments: str | Path, **options: Any) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self(*arguments, "--jsonl", **options)[0].splitlines()]


@pytest.fixture(autouse=True)
def load_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "load", functools.cache(pretrained.load))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run(capsys, monkeypatch)


@pytest.mark.parametrize(("bos", "name"), [("--bos", "logprobs_bos"), ("--no-bos", "logprobs")])
def test_tokens_equal_the_reference(run: Run, bos: str, name: str) -> None:
    """Behind the end-of-text token or not."""
    rows = run.table(GOLDEN["texts"][0], bos)
    expected = GOLDEN[name][0]
    assert [int(row["id"]) for row in rows] == GOLDEN["ids"][0]
    assert "".join(row["token"] for row in rows) == GOLDEN["texts"][0]
    assert [float(row["logprob"]) for row in rows[-len(expected) :]] == pytest.approx(expected, abs=1e-4)
    assert [float(row["surprisal"]) for row in rows[-len(expected) :]] == pytest.approx(
        [-BITS * logprob for logprob in expected], abs=2e-4
    )
    if bos == "--no-bos":
        assert rows[0]["logprob"] == rows[0]["rank"] == ""


def test_texts_are_scored_after_the_end_of_text_token_by_default(run: Run) -> None:
    lines = "\n".join(GOLDEN["texts"]).encode()
    objects = run.objects("--lines", input=lines)
    assert [row["text"] for row in objects] == GOLDEN["texts"]
    for row, text, logprobs in zip(objects, GOLDEN["texts"], GOLDEN["logprobs_bos"], strict=True):
        total = sum(logprobs)
        assert row["n_tokens"] == len(logprobs)
        assert row["logprob"] == pytest.approx(total, abs=1e-3)
        assert row["surprisal"] == pytest.approx(-total * BITS, abs=2e-3)
        assert row["mean_surprisal"] == pytest.approx(-total * BITS / len(logprobs), abs=1e-4)
        assert row["perplexity"] == pytest.approx(math.exp(-total / len(logprobs)), rel=1e-4)
        assert row["bits_per_character"] == row["bits_per_byte"] == pytest.approx(-total * BITS / len(text), abs=1e-4)
    (nats,) = run.objects(GOLDEN["texts"][0], "--texts", "--nats")
    assert nats["surprisal"] == pytest.approx(-nats["logprob"])


def test_long_texts_and_the_formula_of_transformers(run: Run, tmp_path: Path) -> None:
    model = pretrained.load("shakespeare")
    n_head, stride = model.hparams["n_head"], model.hparams["n_ctx"] - 1
    path = tmp_path / "text.txt"
    path.write_text(model.encoder.decode(GOLDEN["window_ids"][: 2 * stride]), encoding="utf-8", newline="")
    ids = model.encoder.encode(path.read_text(encoding="utf-8"))
    (row,) = run.objects(path, "--texts", "--no-bos", "--stride", str(stride))
    expected = scoring.perplexity(scoring.token_logprobs(ids, model.params, n_head, stride))
    assert row["perplexity"] == pytest.approx(expected, rel=1e-5)
    (row,) = run.objects(path, "--hf-perplexity", "--stride", str(stride))
    expected = scoring.huggingface_perplexity(ids, model.params, n_head, stride)
    assert row["hf_perplexity"] == pytest.approx(expected, rel=1e-5)


def test_one_text_in_every_form(run: Run, tmp_path: Path) -> None:
    """Also one that is longer than a file's name may be."""
    text = "To be or not to be, " * 30
    assert len(run.table(text, "--words")) == len(text.split())
    (row,) = run.table(text, "--texts")
    assert float(row["perplexity"]) > 1
    (row,) = run.table(text, "--hf-perplexity")
    assert float(row["hf_perplexity"]) > 1
    output = tmp_path / "one.jsonl"
    for _ in range(2):
        run(text, "--output", output, "--resume")
        assert len(output.read_text().splitlines()) == 1


def test_words_with_and_without_the_correction(run: Run) -> None:
    (plain,) = run.objects(GOLDEN["texts"][2], "--words")
    (corrected,) = run.objects(GOLDEN["texts"][2], "--bow")
    for row in plain, corrected:
        assert [word["word"] for word in row["words"]] == GOLDEN["texts"][2].split()
    assert sum(word["surprisal"] for word in plain["words"]) == pytest.approx(plain["surprisal"])
    assert plain["words"][1]["surprisal"] != pytest.approx(corrected["words"][1]["surprisal"], abs=1e-3)


def test_the_table_for_readers_ends_with_the_whole_text(run: Run) -> None:
    out, _ = run(GOLDEN["texts"][1])
    assert out.splitlines()[0].split() == ["id", "logprob", "surprisal", "rank", "entropy", "token"]
    assert out.splitlines()[-2].startswith("bits per byte")
    assert out.splitlines()[-1].split() == ["model", "shakespeare"]
    many, _ = run("--lines", input=b"To be\nor not\n")
    assert many.splitlines()[-2:] == ["", "model  shakespeare"]
    assert [line.split()[0] for line in many.splitlines()[:3]] == ["line", "1", "2"]


def test_columns_keys_and_identifiers(run: Run, tmp_path: Path) -> None:
    """The same three texts in each format; rows keep their order and their names."""
    texts = ["To be, or", "not to be", "that"]
    (tmp_path / "a.csv").write_text('\ufeffname,said\nx,"To be, or"\ny,not to be\nz,that\n', encoding="utf-8")
    (tmp_path / "a.tsv").write_text("said\tname\nTo be, or\tx\nnot to be\ty\nthat\tz\n", encoding="utf-8")
    lines = [json.dumps({"name": name, "said": text}) for name, text in zip("xyz", texts, strict=True)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines) + "\n\n", encoding="utf-8")
    results = [
        run.objects(tmp_path / f"a.{kind}", "--text", "said", "--id", "name", "--texts")
        for kind in ("csv", "tsv", "jsonl")
    ]
    for objects in results:
        assert [row["name"] for row in objects] == list("xyz")
        assert [row["said"] for row in objects] == texts
        assert [row["logprob"] for row in objects] == [row["logprob"] for row in results[0]]
    both = run.table(tmp_path / "a.csv", tmp_path / "a.tsv", "--column", "said")
    assert [(row["name"], row["said"]) for row in both] == 2 * list(zip("xyz", texts, strict=True))
    assert [(Path(row["source"]).name, row["line"]) for row in both] == [
        *(("a.csv", str(i)) for i in (2, 3, 4)),
        *(("a.tsv", str(i)) for i in (2, 3, 4)),
    ]


def test_the_order_is_the_inputs_whatever_the_lengths(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "CHUNK", 3)
    texts = ["be " * n for n in (9, 1, 5, 40, 2, 7, 3)]
    objects = run.objects("--lines", input="\n".join(texts).encode())
    assert [row["text"] for row in objects] == texts
    for row in objects[2], objects[3]:
        (alone,) = run.objects(row["text"], "--texts")
        assert alone["logprob"] == pytest.approx(row["logprob"], abs=1e-5 * row["n_tokens"])


def test_bad_rows_are_reported_and_left_out(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(
        b'{"text": "To be"}\n{"text": \n{"test": "x"}\n{"text": ""}\n{"text": "a\xff"}\n{"text": "or"}\n[]\n'
        + b"[" * 5000
    )
    out, err = run(path, "--jsonl")
    assert [json.loads(line)["line"] for line in out.splitlines()] == [1, 6]
    for row, message in [
        (2, "not JSON"),
        (3, "no text under the key 'text'"),
        (4, "no tokens"),
        (5, "UTF-8"),
        (7, "no object"),
        (8, "not JSON"),
    ]:
        assert any(f"line {row}: " in line and message in line for line in err.splitlines()), (row, message, err)
    assert err.splitlines()[-1] == "picogpt: 6 bad rows left out"
    out, err = run(path, "--jsonl", "--strict", status=2)
    assert "line 2: not JSON" in err


def test_bad_rows_of_tables(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "rows.tsv"
    path.write_bytes(b'text\tn\nTo be\t1\nor\nx\xfe\t2\n"not\t3\n')
    rows = run.table(path, "--format", "raw-tsv")
    assert [row["line"] for row in rows] == ["2", "5"]
    rows = run.table(path)  # there a quote is opened that nothing closes
    assert [row["line"] for row in rows] == ["2"]


def test_lone_surrogates_in_json_are_bad_rows(run: Run, tmp_path: Path) -> None:
    """Also those that are one byte each, and together UTF-8, where Python smuggles bytes through text."""
    path = tmp_path / "rows.jsonl"
    rows = [
        {"text": "To be"},
        {"text": "\ud800"},
        {"text": "a\udcc3\udca9"},
        {"text": "be", "n": "\udc80"},
        {"text": "🙂"},
    ]
    path.write_text("".join(json.dumps({"n": 7, **row}) + "\n" for row in rows))
    out, err = run(path, "--jsonl", "--id", "n")
    assert [json.loads(line)["text"] for line in out.splitlines()] == ["To be", "🙂"]
    assert err.count("a lone surrogate, which is no character") == 3
    assert err.splitlines()[-1] == "picogpt: 3 bad rows left out"


def test_an_identifier_that_is_not_utf8_makes_a_bad_row(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "rows.tsv"
    path.write_bytes(b"text\tn\nTo be\t\xfe\nor not\t\xc3\xa9\n")
    out, err = run(path, "--jsonl", "--id", "n")
    assert [json.loads(line)["n"] for line in out.splitlines()] == ["é"]
    assert "line 2: the column 'n' is not UTF-8: byte 0xfe at offset 0" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([""], "nothing to score: the text has no tokens"),
        (["a", "--no-bos"], "nothing to score: the text has one token"),
        (["<|endoftext|>"], "say --special token"),
        (["lost.txt"], "there is no file lost.txt"),
        (["two", "texts"], "there is no file two"),
        (["a b", "--stride", "0"], "the stride must be from 1"),
        (["a b", "--stride", "99999"], "the stride must be from 1"),
        (["a b", "--tokens", "--bow"], "--bow corrects words"),
        (["a b", "--words", "--hf-perplexity"], "--hf-perplexity is a figure of a whole text"),
        (["a b", "--bos", "--hf-perplexity"], "leave out --bos"),
        (["--lines", "--choices", "a"], "--choices are for one TEXT"),
        (["a", "--choices", "b", "--words"], "--choices have figures of their own"),
        (["a", "--choices", ""], "a choice must not be empty"),
        (["--lines", "--plot", "x.png"], "--plot draws one text"),
        (["a b", "--resume"], "--resume continues an --output"),
        (["a b", "--output", "no/such/folder.tsv"], "cannot be written: No such file or directory"),
        (["a b", "--output", "x.txt"], "let the name x.txt end so"),
        (["a b", "--tsv", "--output", "x.csv"], "--tsv contradicts the name x.csv"),
        (["a b", "--meta"], "--meta is for a file of JSON lines"),
        (["a b", "--tokens", "--previous", "1"], "--previous and --contextual-entropy are of words and regions"),
        (["a b", "--regions", "r", "--words"], "say one of them"),
        (["a b", "--answer", "x"], "--answer says which of the --choices-column is right"),
    ],
)
def test_mistakes_get_one_line(run: Run, arguments: list[str], message: str) -> None:
    _, err = run(*arguments, status=2)
    assert message in err


def test_unknown_columns(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("name,said\nx,y\n")
    _, err = run(path, status=2)
    assert "has no column 'text'; its columns are name, said" in err
    objects = tmp_path / "rows.jsonl"
    objects.write_text('{"txt": "To be"}\n{"txt": "or not"}\n')
    _, err = run(objects, status=2)  # it once scored nothing, and that was a success
    assert "has no column 'text'; its columns are txt" in err
    _, err = run(path, "--column", "said", "--id", "number", status=2)
    assert "has no column 'number'" in err


def test_choices_are_ranked(run: Run) -> None:
    """By the log-probability that the whole text gives them."""
    choices = [" are dead", " is dead", " is"]
    rows = run.table("The king", "--choices", *choices)
    totals = {}
    for choice in choices:
        tokens = run.table("The king" + choice)
        totals[choice] = sum(float(row["logprob"]) for row in tokens)
    (prefix,) = {round(totals[row["choice"]] - float(row["logprob"]), 3) for row in rows}
    assert prefix < 0
    assert [row["choice"] for row in rows] == sorted(choices, key=lambda choice: -totals[choice])
    for row in rows:
        assert float(row["per_token"]) == pytest.approx(float(row["logprob"]) / int(row["n_tokens"]), abs=1e-5)
        assert float(row["per_byte"]) == pytest.approx(float(row["logprob"]) / len(row["choice"]), abs=1e-5)


def test_choices_of_one_text_go_into_a_file(run: Run, tmp_path: Path) -> None:
    output = tmp_path / "choices.csv"
    run("The king", "--choices", " is dead", "--output", output)
    assert output.read_text().splitlines()[0] == "model,logprob,per_token,per_byte,n_tokens,choice"
    assert json.loads(Path(f"{output}.meta.json").read_text())["choices"] == [" is dead"]
    _, err = run("The king", "--choices", " is", "--output", output, "--resume", status=2)
    assert "there is nothing to --resume" in err


def test_a_space_at_the_end_of_the_prefix_does_not_matter(run: Run) -> None:
    """The tokens are those of prefix and choice together, and not "The king " and "is"."""
    after = run.table("The king", "--choices", " is", " are")
    before = run.table("The king ", "--choices", "is", "are")
    assert [row["logprob"] for row in before] == [row["logprob"] for row in after]


@pytest.fixture
def loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One model for many runs."""
    model = picogpt.load("shakespeare")
    monkeypatch.setattr(score, "load_model", lambda args: model)


@pytest.mark.parametrize("unit", ["--texts", "--words", "--tokens"])
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".raw.tsv", ".jsonl", ".parquet"])
@pytest.mark.usefixtures("loaded_once")
def test_a_killed_run_goes_on_wherever_it_was_killed(
    run: Run, tmp_path: Path, unit: str, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the same bytes: the same file twice, a backslash in its name, several chunks, texts without words, quotes."""
    monkeypatch.setattr(loop, "CHUNK", 3)
    texts = tmp_path / "te\\xts.txt"
    texts.write_text('To be\n"or" not to be\n   \n\nthat, is\n  \n')
    arguments: list[str | Path] = [texts, texts, "--lines", unit, *(["--raw-tsv"] if "raw" in suffix else [])]
    whole, part = tmp_path / f"whole{suffix}", tmp_path / f"part{suffix}"
    with monkeypatch.context() as patch:  # what grows is kept
        patch.setattr(Path, "unlink", lambda path, missing_ok=False: None)
        run(*arguments, "--output", whole)
    expected, rows, description = (path.read_bytes() for path in (whole, growing(whole), Path(f"{whole}.meta.json")))
    newline = rows.index(b"\n")
    for n in (*range(0, len(rows), len(rows) // 7), newline, newline + 1, len(rows) - 1, len(rows)):
        part.unlink(missing_ok=True)
        growing(part).write_bytes(rows[:n])
        Path(f"{part}.meta.json").write_bytes(description)
        run(*arguments, "--output", part, "--resume")
        assert part.read_bytes() == expected, n
    _, err = run(*arguments, "--output", whole, status=2)
    assert "exists: continue it (--resume)" in err
    run(*arguments, "--output", whole, "--resume")
    assert whole.read_bytes() == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--nats"], "unit was 'bits' and is 'nats'"),
        (["--words"], "rows was 'text' and is 'word'"),
        (["--no-bos"], "bos was 1023 and is None"),
        (["--stride", "5"], "stride was 128 and is 5"),
        (["--special", "text"], "special was None and is 'text'"),
        (["--dtype", "int8"], "dtype was 'float32' and is 'int8'"),
        (["--text", "said"], "column was 'text' and is 'said'"),
        (["other.txt"], "the input was texts.txt and is other.txt, texts.txt"),
    ],
)
def test_a_run_with_other_options_is_not_continued(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    """It once put bits and nats into one column."""
    monkeypatch.chdir(tmp_path)
    for name in ("texts.txt", "other.txt"):
        Path(name).write_text("To be\nor not\nto be\n")
    arguments = ["texts.txt", "--lines", "--texts", "--output", "out.jsonl"]
    if "--words" in options:
        arguments.remove("--texts")
    run("texts.txt", "--lines", "--texts", "--output", "out.jsonl")
    before = Path("out.jsonl").read_bytes()
    _, err = run(*options, *arguments, "--resume", status=2)
    assert "out.jsonl was made with something else: " in err
    assert message in err
    assert Path("out.jsonl").read_bytes() == before


def test_another_model_or_a_changed_input_is_not_continued(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts, output = tmp_path / "texts.txt", tmp_path / "out.tsv"
    texts.write_text("To be\nor not\n")
    run(texts, "--lines", "--output", output)
    texts.write_text("To be\nor now\n")
    _, err = run(texts, "--lines", "--output", output, "--resume", status=2)
    assert "texts.txt has changed" in err
    texts.write_text("To be\nor not\n")
    encoder, hparams, params = picogpt.load("shakespeare")
    params["ln_f"]["b"] = params["ln_f"]["b"] + np.float32(1)
    monkeypatch.setattr(score, "load_model", lambda args: GPT2(encoder, hparams, params))
    _, err = run(texts, "--lines", "--output", output, "--resume", status=2)
    assert "weights_sha256 was" in err
    assert isinstance(encoder, ByteLevelBPE)
    merges = encoder.merges
    other = ByteLevelBPE(encoder.tokens, [merges[1], merges[0], *merges[2:]], encoder.special_tokens)
    monkeypatch.setattr(score, "load_model", lambda args: GPT2(other, hparams, picogpt.load("shakespeare").params))
    _, err = run(texts, "--lines", "--output", output, "--resume", status=2)
    assert "tokenizer_sha256 was" in err
    Path(f"{output}.meta.json").unlink()
    _, err = run(texts, "--lines", "--output", output, "--resume", status=2)
    assert "out.tsv.meta.json is missing" in err


def test_a_name_that_is_not_utf_8_and_a_first_run_that_failed(run: Run, tmp_path: Path) -> None:
    """The one once ended in a traceback, the other in an empty file that nothing could go on with."""
    texts, output = tmp_path / os.fsdecode(b"caf\xe9"), tmp_path / "out.jsonl"
    texts.write_text("To be\n")
    output.touch()
    run(texts, "--lines", "--output", output)
    (row,) = map(json.loads, output.read_text().splitlines())
    assert row["source"].endswith("caf\\xe9")
    run(texts, "--lines", "--output", output, "--resume")
    assert len(output.read_text().splitlines()) == 1


def test_what_came_through_a_pipe_is_not_continued(run: Run, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    run("--lines", "--output", output, input=b"To be\n")
    _, err = run("--lines", "--output", output, "--resume", input=b"To be\n", status=2)
    assert "came through a pipe" in err


def test_a_file_that_is_no_output_is_left_alone(run: Run, tmp_path: Path) -> None:
    texts, output = tmp_path / "texts.txt", tmp_path / "out.jsonl"
    texts.write_text("To be\n")
    run(texts, "--lines", "--output", output)
    output.write_text("something\nelse\n")
    _, err = run(texts, "--lines", "--output", output, "--resume", status=2)
    assert "is not the output of such a run" in err
    assert output.read_text() == "something\nelse\n"


def test_two_processes_do_not_write_one_output(run: Run, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    with locked(tmp_path / ".out.jsonl.lock", on_wait=lambda: None):
        _, err = run("To be", "--output", output, status=2)
    assert "another process is writing" in err
    assert list(tmp_path.iterdir()) == []


def test_the_description_says_what_was_measured(run: Run, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    run("To be", "--output", output, "--nats")
    described = json.loads(Path(f"{output}.meta.json").read_text())
    model = picogpt.load("shakespeare")
    assert described["weights_sha256"] == fingerprint(model.params)
    assert (described["unit"], described["bos"], described["stride"]) == ("nats", model.encoder.eot_token, 128)
    assert described["inputs"] == [{"text": 5, "sha256": hashlib.sha256(b"To be").hexdigest()}]


def test_a_row_is_with_the_operating_system_when_it_is_written(tmp_path: Path) -> None:
    """A kill that gives no time to flush must not lose rows that were counted as done."""
    path = tmp_path / "rows.tsv"
    with Writer("tsv", path) as writer:
        writer.write([{"source": "x", "line": 1, "text": "a\tb\nc\\"}])
        assert path.read_text() == 'source\tline\ttext\nx\t1\t"a\tb\nc\\"\n'


def test_the_verdict_word_by_word_as_pandas_reads_it(run: Run, tmp_path: Path) -> None:
    """A third of its rows was once lost without a word, since a word like `"I` opened a quote."""
    import pandas

    path = tmp_path / "the-verdict.txt"
    path.write_text(read_text("the-verdict.txt")[:4000], encoding="utf-8")
    words = path.read_text(encoding="utf-8").split()
    assert any(word.startswith('"') for word in words)
    for form, delimiter in (("--csv", ","), ("--tsv", "\t")):
        out, _ = run(path, "--lines", "--words", form)
        table = pandas.read_csv(io.StringIO(out, newline=""), sep=delimiter, keep_default_na=False)
        assert list(table["word"]) == words


def test_columns_of_the_input_come_along(run: Run, tmp_path: Path) -> None:
    """All of them, once those of --id; and one that is called like one of ours gets another name."""
    path = tmp_path / "items.csv"
    path.write_text('item,word,text,cond\n1,w,"To be, or",a\n2,"v ""x""",not to be,\n')
    rows = run.table(path, "--words")
    assert list(rows[0]) == [
        *("source", "line", "model", "item", "input_word", "cond", "index", "n_tokens", "surprisal", "word")
    ]
    assert [(row["item"], row["input_word"], row["cond"]) for row in rows] == [
        *(3 * [("1", "w", "a")]),
        *(3 * [("2", 'v "x"', "")]),
    ]
    assert {row["model"] for row in rows} == {"shakespeare"}
    (first, _) = run.table(path, "--id", "cond", "--id", "item")
    assert list(first)[:6] == ["source", "line", "model", "cond", "item", "n_tokens"]
    out, _ = run(path, "--id", "item")
    assert out.splitlines()[0].split()[:2] == ["item", "n_tokens"]
    _, err = run(path, "--id", "itme", status=2)
    assert "no column 'itme'; its columns are item, word, text, cond" in err


def test_fields_of_json_come_along_as_they_are(run: Run, tmp_path: Path) -> None:
    """In JSON; as text in a table, where a row may lack a column that another has."""
    path = tmp_path / "items.jsonl"
    path.write_text('{"text": "To be", "x": 0.1, "y": [1]}\n{"text": "or not", "z": null, "x": "é"}\n')
    first, second = run.objects(path)
    assert (first["x"], first["y"], second["z"], second["x"]) == (0.1, [1], None, "é")
    assert "z" not in first
    assert [(row["x"], row["y"], row["z"]) for row in run.table(path)] == [("0.1", "[1]", ""), ("é", "", "")]


def test_what_was_measured_stands_with_figures_that_go_to_a_program(run: Run) -> None:
    """On stderr, or as the first of the JSON lines; and a table says that the model was nobody's choice."""
    out, err = run("To be", "--csv")
    digest = fingerprint(picogpt.load("shakespeare").params)
    assert f"shakespeare (weights' SHA-256 {digest}), picogpt {picogpt.__version__}, float32, after token 1023" in err
    assert "bits, stride 128" in err
    meta, row = run.objects("To be", "--meta")
    assert meta["meta"]["weights_sha256"] == digest
    assert row["model"] == "shakespeare"
    assert main(["score", "To be"]) == 0
    out = run.capsys.readouterr().out
    assert out.splitlines()[-1].endswith("shakespeare (no --model was given, and GPT-2 is not here)")


def test_json_lines_that_begin_with_what_was_measured_are_continued(run: Run, tmp_path: Path) -> None:
    texts, output = tmp_path / "texts.txt", tmp_path / "out.jsonl"
    texts.write_text("To be\nor not\n")
    run(texts, "--lines", "--meta", "--output", output)
    expected = output.read_bytes()
    assert expected.count(b"\n") == 3
    for n in (0, 10, expected.index(b"\n") + 1, len(expected) - 5):
        output.write_bytes(expected[:n])
        run(texts, "--lines", "--meta", "--output", output, "--resume")
        assert output.read_bytes() == expected


def test_sentences_in_quotes(run: Run) -> None:
    """One, or several; with a unit before them or not."""
    for arguments in (["--texts", "The king is dead.", "Long live"], ["The king is dead.", "Long live", "--texts"]):
        rows = run.table(*arguments)
        assert [(row["line"], row["text"]) for row in rows] == [("1", "The king is dead."), ("2", "Long live")]
    (row,) = run.table("--texts", "The king is dead.")
    assert row["text"] == "The king is dead."


def test_a_text_after_its_context(run: Run, tmp_path: Path) -> None:
    """Only the text's tokens are scored, given those of the context; a space joins the two if none is there."""
    path = tmp_path / "items.csv"
    path.write_text("pre,text\nThe king,is dead.\nThe king , is dead.\n,is dead.\n")
    objects = run.objects(path, "--prefix", "pre", "--tokens")
    (whole,) = run.objects("The king is dead.", "--tokens")
    (alone,) = run.objects("is dead.", "--tokens")
    expected = whole["tokens"][2:]
    assert objects[0]["tokens"] == [
        {name: pytest.approx(value, abs=1e-4) if isinstance(value, float) else value for name, value in token.items()}
        for token in expected
    ]
    assert objects[0]["logprob"] == pytest.approx(sum(token["logprob"] for token in expected), abs=1e-4)
    assert "".join(token["token"] for token in objects[1]["tokens"]) == " is dead."
    assert objects[2]["logprob"] == pytest.approx(alone["logprob"], abs=1e-4)
    (glued, *_) = run.objects(path, "--prefix", "pre", "--tokens", "--separator", "")
    assert "".join(token["token"] for token in glued["tokens"]) == "is dead."


def test_words_with_the_surprisals_before_them_and_the_entropy_of_their_beginning(run: Run) -> None:
    (tokens,) = run.objects("The king is dead.", "--tokens")
    words = run.table("The king is dead.", "--words", "--previous", "2", "--contextual-entropy")
    surprisals = [word["surprisal"] for word in words]
    assert [word["previous_1"] for word in words] == ["", *surprisals[:-1]]
    assert [word["previous_2"] for word in words] == ["", "", *surprisals[:-2]]
    entropies = [token["entropy"] for token in tokens["tokens"]]
    assert [float(word["entropy"]) for word in words] == pytest.approx(entropies[:4], abs=1e-5)


def test_regions_of_sentences(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text('item,regions\n1,The king | is | dead.\n2,"The ki|ng"\n')
    rows = run.table(path, "--regions", "regions", "--previous", "1")
    words = run.table("The king is dead.", "--words")
    assert [row["region"] for row in rows[:3]] == ["The king", "is", "dead."]
    sums = [float(words[0]["surprisal"]) + float(words[1]["surprisal"]), float(words[2]["surprisal"])]
    assert [float(row["surprisal"]) for row in rows[:2]] == pytest.approx(sums, abs=1e-3)
    assert rows[1]["previous_1"] == rows[0]["surprisal"]
    assert rows[0]["regions"] == "The king | is | dead."
    quoted = run.table("The king | is | dead.", "--regions", "text")
    expected = [float(row["surprisal"]) for row in rows[:3]]
    assert [float(row["surprisal"]) for row in quoted] == pytest.approx(expected, abs=1e-4)


def test_choices_in_a_column(run: Run, tmp_path: Path) -> None:
    """After the text or in its gap, and which of them is right; rows of an earlier run count for the accuracy."""
    path, output = tmp_path / "items.csv", tmp_path / "out.csv"
    path.write_text("text,said,right\nThe king,are dead|is dead,1\nThe {} is dead.,king|kings,king\nMy,lord|love,C\n")
    arguments: list[str | Path] = [path, "--choices-column", "said", "--answer", "right"]
    rows = run.table(*arguments)
    assert [row["choice"] for row in rows] == ["are dead", "is dead", "king", "kings"]
    (is_dead,) = run.table("The king", "--choices", " is dead")
    assert float(rows[1]["logprob"]) == pytest.approx(float(is_dead["logprob"]), abs=1e-4)
    assert float(rows[1]["per_character"]) == pytest.approx(float(is_dead["logprob"]) / 7, abs=1e-4)
    (gap,) = run.table("The {} is dead.", "--choices", "kings")
    assert float(rows[3]["logprob"]) == pytest.approx(float(gap["logprob"]), abs=1e-4)
    assert [row["is_answer"] for row in rows] == ["0", "1", "1", "0"]
    first, second = run.objects(*arguments)
    assert (first["best"], first["acc"]) == ("is dead", 1)
    out, err = run(*arguments, "--output", output)
    assert "line 4: the answer 'C' is none of the 2 choices" in err
    accuracy = [line.split()[:2] for line in out.splitlines()[1:]]
    assert accuracy == [["2", f"{(1 + second[name]) / 2:.3f}"] for name in ("acc", "acc_norm", "acc_bytes")]
    again, _ = run(*arguments, "--output", output, "--resume")
    assert again == out


def test_a_plot_of_the_words(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "words.png"
    run("To be, or $not^ to be", "--plot", path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [file.name for file in tmp_path.iterdir()] == ["words.png"]
    monkeypatch.setattr(plot, "N_WORDS", 3)
    monkeypatch.setattr(plot, "N_LINES", 1)
    run("To be or not", "--plot", path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["words-2.png", "words.png"]
    width = int.from_bytes(path.read_bytes()[16:20])
    assert width == 8 * 150  # a page's, however many words there are
    run("To be or not", "--plot", tmp_path / "words.pdf", "--output", tmp_path / "words.csv")
    assert (tmp_path / "words.csv").read_text().count("\n") == 5
    assert (tmp_path / "words.pdf").read_bytes().count(b"/Type /Page ") == 2
    _, err = run("To be", "--plot", tmp_path / "words.nonsense", status=2)
    assert "cannot be written" in err
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_pdf", None)
    _, err = run("To be", "--plot", path, status=2)
    assert "pip install matplotlib" in err


def test_words_are_coloured_by_their_surprisal_on_a_terminal_alone(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The brighter the more surprising, up to a blind guess among all tokens; letters are black on what is bright."""
    for variable in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(variable, raising=False)
    plain, _ = run("To be, or not to be zebra", "--words")
    assert "\x1b" not in plain
    monkeypatch.setattr(score, "in_colour", lambda: True)
    coloured, _ = run("To be, or not to be zebra", "--words")
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == plain
    colours = {word: int(colour) for colour, word in re.findall(r"\x1b\[\d+;48;5;(\d+)m(\S+)\x1b\[0m", coloured)}
    surprisals = {line.split()[2]: float(line.split()[1]) for line in plain.split("\n\n")[0].splitlines()[1:]}
    assert colours.keys() == surprisals.keys()
    brightest = math.log2(pretrained.load("shakespeare").encoder.n_vocab)
    for word, surprisal in surprisals.items():
        assert colours[word] == RISING[min(int(surprisal / brightest * len(RISING)), len(RISING) - 1)]
    assert len(set(colours.values())) > 1
    for arguments in (["--texts"], ["--tsv"], ["--jsonl"], ["--choices", " a", " b"]):
        assert "\x1b" not in run("To be", *arguments)[0]
