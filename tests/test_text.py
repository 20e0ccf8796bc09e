"""Text from outside is shown as text, whatever it holds."""

import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2g.io.runtime.program import start_log
from v2g.text import printable


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
