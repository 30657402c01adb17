"""`picogpt generate`: exact text on stdout, everything else on stderr, and one line for every mistake."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from picogpt import pretrained
from picogpt.cli import main, writing
from picogpt.decoding import Token, decode

GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "shakespeare_greedy.json").read_text())
PROMPT = GOLDEN["prompts"][0]
MODEL = ["--model", "shakespeare"]


def continuation(i: int, n: int) -> str:
    return pretrained.load("shakespeare").encoder.decode(GOLDEN["greedy_ids_200"][i][:n])


def run(*arguments: str, input: bytes = b"", **options: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-m", "picogpt", *arguments], input=input, capture_output=True, **options)


@pytest.mark.parametrize("i", range(len(GOLDEN["prompts"])))
def test_writes_the_reference_text_and_nothing_else(i: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", GOLDEN["prompts"][i], "-n", "30", *MODEL]) == 0
    captured = capsys.readouterr()
    assert captured.out == continuation(i, 30)
    assert captured.err == ""


def test_a_first_argument_that_is_no_command_is_a_prompt(capsys: pytest.CaptureFixture[str]) -> None:
    """With 40 tokens, and the spellings of picoGPT."""
    assert main([PROMPT, "--model_size", "shakespeare"]) == 0
    assert capsys.readouterr().out == continuation(0, 40)
    assert main([PROMPT, "--n_tokens_to_generate", "7", *MODEL, "--models_dir", "models"]) == 0
    assert capsys.readouterr().out == continuation(0, 7)


def test_a_commands_name_is_a_prompt_after_generate(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "info", "-n", "5", "--echo", *MODEL]) == 0
    assert capsys.readouterr().out.startswith("info")


def test_echo_and_stats(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([PROMPT, "-n", "9", "--echo", "--stats", *MODEL]) == 0
    captured = capsys.readouterr()
    assert captured.out == PROMPT + continuation(0, 9)
    assert f"{len(GOLDEN['prompt_ids'][0])} prompt tokens, the first token after" in captured.err
    assert "tokens a second (length)" in captured.err


def test_without_a_model_a_line_says_how_to_get_gpt2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrained, "default_model", lambda models_dir: "shakespeare")
    assert main([PROMPT, "-n", "1"]) == 0
    assert "`picogpt download 124M` gets GPT-2" in capsys.readouterr().err


def test_without_a_model_a_line_says_which_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(pretrained.find_model("shakespeare"), tmp_path / "models" / "124M")
    monkeypatch.chdir(tmp_path)
    assert main([PROMPT, "-n", "1"]) == 0
    assert capsys.readouterr().err == "picogpt: the model is 124M, in models/124M\n"
    assert main([PROMPT, "-n", "1", "--model", "124M"]) == 0
    assert not capsys.readouterr().err


def test_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    texts = []
    for seed in ("1", "1", "2"):
        assert main([PROMPT, "--seed", seed, "--temperature", "0.9", "--top-k", "40", "--top-p", "0.95", *MODEL]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] != texts[2]


def test_temperature_zero_and_top_k_one_are_greedy(capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--temperature", "0"), ("--top-k", "1"):
        assert main([PROMPT, "-n", "20", *option, *MODEL]) == 0
        assert capsys.readouterr().out == continuation(0, 20)


def test_stop_strings(capsys: pytest.CaptureFixture[str]) -> None:
    text = continuation(0, 40)
    stop = text[20:26]
    assert main([PROMPT, "--stop", stop, "--stop", "never there", "--stats", *MODEL]) == 0
    captured = capsys.readouterr()
    assert captured.out == text[: text.index(stop)]
    assert captured.err.endswith("(stop)\n")


def test_at_the_context_it_stops_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    n_ctx = pretrained.load("shakespeare").hparams["n_ctx"]
    assert main([PROMPT, "-n", "9999", "--ignore-eos", *MODEL]) == 0
    captured = capsys.readouterr()
    assert f"the context of {n_ctx} is full (--slide continues)" in captured.err
    assert main([PROMPT, "-n", str(n_ctx + 9), "--ignore-eos", "--slide", *MODEL]) == 0
    slid = capsys.readouterr()
    assert slid.out.startswith(captured.out)
    assert len(slid.out) > len(captured.out)
    assert slid.err == ""


def with_config(directory: Path, **entries: Any) -> Path:
    """A copy of the Shakespeare model, with other entries in its config."""
    shipped = pretrained.find_model("shakespeare").resolve()
    directory.mkdir()
    for name in ("vocab.json", "merges.txt", "model.safetensors"):
        (directory / name).symlink_to((shipped / name).resolve())
    config = json.loads((shipped / "config.json").read_text(encoding="utf-8")) | entries
    (directory / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return directory


def test_the_configs_end_token_ends_the_text_and_is_not_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An id or several. It was the token called <|endoftext|> alone."""
    encoder = pretrained.load("shakespeare").encoder
    ids = GOLDEN["greedy_ids_200"][0]
    one, two = ids[10], ids[5]
    for number, ends in enumerate(([one], [one, two])):
        end = ends if number else one
        model = ["--model", str(with_config(tmp_path / str(number), eos_token_id=end))]
        assert main([PROMPT, *model]) == 0
        assert capsys.readouterr().out == encoder.decode(ids[: min(map(ids.index, ends))])
        assert main([PROMPT, "--ignore-eos", *model]) == 0
        assert capsys.readouterr().out == continuation(0, 40)
        assert main([PROMPT, "--min-length", "999", "-n", "12", "--json", *model]) == 0
        written = {token["id"] for token in json.loads(capsys.readouterr().out)["tokens"]}
        assert not written & set(ends)


def test_standard_input_is_the_prompt_exactly() -> None:
    """A newline at its end belongs to it, as in the last of the reference prompts."""
    result = run("-n", "12", *MODEL, input=GOLDEN["prompts"][3].encode())
    assert (result.returncode, result.stdout.decode(), result.stderr) == (0, continuation(3, 12), b"")


def test_an_empty_prompt_starts_from_the_end_of_text_token(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["", "-n", "8", *MODEL]) == 0
    from_nothing = capsys.readouterr().out
    assert from_nothing
    result = run("-n", "8", *MODEL, env=os.environ | {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "NO_COLOR": "1"})
    assert (result.returncode, result.stdout.decode()) == (0, from_nothing)


def test_several_samples_have_a_line_between_them(capsys: pytest.CaptureFixture[str]) -> None:
    """The first is what one sample alone is."""
    arguments = ["generate", PROMPT, "-n", "12", "--seed", "5", *MODEL]
    assert main(arguments) == 0
    alone = capsys.readouterr().out
    assert main([*arguments, "-N", "3"]) == 0
    texts = capsys.readouterr().out.removesuffix("\n").split("\n---\n")
    assert texts[0] == alone
    assert len(set(texts)) == 3


def test_lines_are_prompts_decoded_side_by_side() -> None:
    """More of them than fit one batch, in their order, and each as alone."""
    lines = [GOLDEN["prompts"][0], GOLDEN["prompts"][2]] * 20
    result = run("--lines", "-n", "10", "--json", *MODEL, input="\n".join(lines).encode() + b"\n")
    records = [json.loads(line) for line in result.stdout.decode().splitlines()]
    assert [record["prompt"] for record in records] == lines
    assert [record["text"] for record in records] == [continuation(0, 10), continuation(2, 10)] * 20


def test_lines_end_at_line_ends_only() -> None:
    """str.splitlines also cuts at form feeds and Unicode's separators."""
    assert writing.lines("a\x0cb\u2028c\r\n\nd\n") == ["a\x0cb\u2028c", "", "d"]
    assert writing.lines("") == []


def test_json_has_ids_texts_and_log_probabilities(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([PROMPT, "-n", "6", "--json", "--logprobs", "3", "-N", "2", "--temperature", "0", *MODEL]) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first == second
    assert first["prompt"] == PROMPT
    assert first["text"] == continuation(0, 6)
    assert first["finish_reason"] == "length"
    assert [token["id"] for token in first["tokens"]] == GOLDEN["greedy_ids_200"][0][:6]
    assert "".join(token["text"] for token in first["tokens"]) == first["text"]
    for token in first["tokens"]:
        assert len(token["top"]) == 3
        assert token["top"][0] == {name: token[name] for name in ("id", "text", "logprob")}
        assert token["top"][0]["logprob"] >= token["top"][1]["logprob"] >= token["top"][2]["logprob"]


def test_stop_strings_end_rows_of_a_batch(capsys: pytest.CaptureFixture[str]) -> None:
    text = continuation(0, 40)
    stop = text[20:26]
    assert main([PROMPT, "--json", "--stop", stop, *MODEL]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["finish_reason"] == "stop"
    assert record["text"] == text[: text.index(stop)]


def test_beams(capsys: pytest.CaptureFixture[str]) -> None:
    """Against the reference's first setting."""
    golden = json.loads((Path(__file__).parents[1] / "data" / "beam.json").read_text())[0]
    model = pretrained.load("shakespeare")
    prompt, n = model.encoder.decode(golden["prompt_ids"]), len(golden["prompt_ids"])
    numbers = {"-n": golden["max_new_tokens"], "--beams": golden["num_beams"], "-N": 2}
    options = itertools.chain.from_iterable((name, str(number)) for name, number in numbers.items())
    assert main([prompt, "--ignore-eos", "--json", *options, *MODEL]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["text"] for record in records] == [model.encoder.decode(ids[n:]) for ids in golden["sequences"][:2]]
    assert [record["score"] for record in records] == pytest.approx(golden["scores"][:2], abs=1e-5)


def test_lookup_writes_the_same_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([PROMPT, "-n", "150", "--lookup", *MODEL]) == 0
    assert capsys.readouterr().out == continuation(0, 150)


def test_what_may_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    """Each of these options changes the text, as its transform does."""
    for options in (
        ["--repetition-penalty", "1.5"],
        ["--presence-penalty", "3"],
        ["--frequency-penalty", "3"],
        ["--no-repeat-ngram", "1"],
        ["--ban", str(GOLDEN["greedy_ids_200"][0][0])],
        ["--min-p", "0.05", "--seed", "1"],
        ["--typical-p", "0.3", "--seed", "1"],
    ):
        assert main([PROMPT, *options, *MODEL]) == 0
        assert capsys.readouterr().out != continuation(0, 40), options


@pytest.mark.parametrize(("special", "n_tokens"), [("token", 2), ("text", 3)])
def test_special_tokens_in_the_prompt_mean_what_is_said(
    special: str, n_tokens: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["<|endoftext|>a", "--special", special, "--stats", "-n", "2", *MODEL]) == 0
    n = int(capsys.readouterr().err.split("picogpt: ")[1].split()[0])
    assert n == n_tokens if special == "token" else n > n_tokens


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--temperature", "-1"], "temperature must be 0 or from 1e-10 to 1e10, not -1.0"),
        (["--top-k", "0"], "top_k must be 1 or more, not 0"),
        (["--top-p", "1.5"], "top_p must be above 0 and at most 1, not 1.5"),
        (["--seed", "-3"], "the seed must be 0 or more, not -3"),
        (["-n", "-1"], "the number of tokens must be 0 or more, not -1"),
        (["-N", "0"], "the number of samples must be from 1 to 1000, not 0"),
        (["--logprobs", "2"], "--logprobs are part of the output of --json"),
        (["--lookup", "-N", "2"], "--lookup decodes one row"),
        (["--early-stopping"], "--early-stopping is for --beams"),
        (["--beams", "2", "-N", "3"], "of 2 beams 3 cannot be the best"),
        (["--beams", "2", "--top-k", "3"], "it has no --top-k"),
        (["--stop", ""], "a stop string must not be empty"),
        (["--ban", "99999999"], "banned token 99999999 is outside the vocabulary"),
        (["--model", "no-such-model"], "there is no model 'no-such-model'"),
    ],
)
def test_mistakes_get_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([PROMPT, *MODEL, *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert captured.err.count("\n") == 1


def test_options_that_do_not_exist_get_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main([PROMPT, "--wild"])
    assert exit.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_prompt_longer_than_the_context(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["no " * 9000, *MODEL]) == 2
    assert "more than the model's context of" in capsys.readouterr().err


def test_prompts_that_are_not_utf8_are_named_with_the_place() -> None:
    result = run(*MODEL, input=b"To be\xff or not")
    assert (result.returncode, result.stdout) == (2, b"")
    assert result.stderr == b"picogpt: standard input is not UTF-8: byte 0xff at offset 5\n"
    result = subprocess.run([sys.executable, "-m", "picogpt", b"a\xfe", *MODEL], capture_output=True)
    assert (result.returncode, result.stderr) == (2, b"picogpt: the prompt is not UTF-8: byte 0xfe at offset 1\n")


def start(*arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "picogpt", *arguments], stdout=subprocess.PIPE, **options)


ENDLESS = ["-n", "1000000", "--slide", "--ignore-eos", *MODEL]


def test_ctrl_c_keeps_what_was_written() -> None:
    with start(PROMPT, *ENDLESS, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        seen = process.stdout.read(50)
        process.send_signal(signal.SIGINT)
        seen += process.stdout.read()
        assert process.stderr.read() == b""
    assert process.returncode == 130
    assert seen.decode().startswith(continuation(0, 20))


@pytest.fixture
def ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C comes after five tokens of each of three rows."""

    def interrupted(*arguments: Any, **options: Any) -> Iterator[Token]:
        yield from itertools.islice(decode(*arguments, **options), 15)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("picogpt.decoding.loop.decode", interrupted)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_prints_what_there_is_of_each_sample(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([PROMPT, "-N", "3", "--temperature", "0", *MODEL]) == 130
    assert capsys.readouterr() == ("\n---\n".join([continuation(0, 5)] * 3) + "\n", "")


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_prints_what_there_is_of_each_line_and_begins_no_more(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "BATCH_SIZE", 3)
    text = "\n".join(GOLDEN["prompts"][i] for i in (0, 2, 0, 2))
    assert main([text, "--lines", "--json", *MODEL]) == 130
    captured = capsys.readouterr()
    records = [json.loads(line) for line in captured.out.splitlines()]
    assert [record["text"] for record in records] == [continuation(i, 5) for i in (0, 2, 0)]
    assert [len(record["tokens"]) for record in records] == [5] * 3
    assert [record["finish_reason"] for record in records] == [None] * 3
    assert captured.err == ""


def test_a_closed_pipe_ends_quietly() -> None:
    with start(PROMPT, *ENDLESS, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0
