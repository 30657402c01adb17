"""Progress: how many of how many, and how long it will take."""

from __future__ import annotations

import pytest

from picogpt.cli.progress import Progress, duration


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_where_there_is_no_terminal_a_line_tells_every_half_minute(capsys: pytest.CaptureFixture[str]) -> None:
    """What an earlier run did is done, and says nothing about the pace."""
    clock = Clock()
    with Progress(20_000, clock) as progress:
        progress.advance(10_000, worked=False)
        for _ in range(10):
            clock.now += 10
            progress.advance(100)
    assert capsys.readouterr().err.splitlines() == [
        "picogpt: 10,300 of 20,000 texts in 0:30, 10 a second, 16:10 left",
        "picogpt: 10,600 of 20,000 texts in 1:00, 10 a second, 15:40 left",
        "picogpt: 10,900 of 20,000 texts in 1:30, 10 a second, 15:10 left",
    ]


def test_a_terminal_has_a_bar_with_a_total(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with Progress(300) as progress:
        progress.advance(200)
        progress.say("a row")
    err = capsys.readouterr().err
    assert "200/300" in err
    assert "picogpt: a row\n" in err


def test_durations() -> None:
    assert [duration(seconds) for seconds in (0, 59.6, 3599, 7325)] == ["0:00", "1:00", "59:59", "2:02:05"]
