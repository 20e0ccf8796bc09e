"""Text from outside is shown as text, whatever it holds."""

import json
import logging
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2g.io.runtime.program import start_log
from v2g.text import age, moment, printable
from v2g_cli.output import print_table


@given(st.text())
def test_every_character_is_one_to_read(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert shown == text or not text.isprintable()


@given(st.text())
def test_json_still_means_the_same(text: str) -> None:
    written = json.dumps({"said": text}, ensure_ascii=False, indent=2)
    shown = printable(written, lines=True)
    assert json.loads(shown) == {"said": text}
    assert all(line.isprintable() for line in shown.split("\n"))


def test_what_is_escaped_and_what_is_not() -> None:
    assert printable("\x1b[2J\r\n\u202e\u200b\U000e0041") == r"\u001b[2J\u000d\u000a\u202e\u200b\udb40\udc41"
    assert printable("Zürich 充電 [red] 12 €") == "Zürich 充電 [red] 12 €"


def test_times_and_ages_are_told_to_people() -> None:
    assert moment(1_795_046_400_000) == "2026-11-19 00:00:00 UTC"
    assert moment(1_795_046_400_999, ZoneInfo("Europe/Berlin")) == "2026-11-19 01:00:00 Europe/Berlin"
    assert moment(2**53) == "9999-12-31 23:59:59 UTC"
    assert [age(1000 * each) for each in (-1, 59, 3599, 86_400, 172_800)] == [
        "0\u00a0s", "59\u00a0s", "59\u00a0min", "24\u00a0h", "2\u00a0d"
    ]  # fmt: skip


def test_an_age_in_a_cell_has_a_space(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("Held", ("since",), [(f"event 1 is {age(60_000)} before\t",)])
    assert capsys.readouterr().out == "event 1 is 1 min before\\u0009\n"


def test_a_message_in_the_log_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    start_log()
    try:
        logging.getLogger("test").info("model %s", "\x1b]0;mine\x07\n2026 INFO csms: forged")
        try:
            raise ValueError("\x1b[2J")
        except ValueError:
            logging.getLogger("test").exception("failed")
    finally:
        logging.getLogger().handlers.clear()
    first, *others = capsys.readouterr().err.splitlines()
    assert first.endswith(r"test: model \u001b]0;mine\u0007\u000a2026 INFO csms: forged")
    assert r"ValueError: \u001b[2J" in others
    assert all(line.isprintable() for line in others)
