"""Whoever types what the documentation says sees what the documentation says."""

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.docs.documents import ROOT, Command, Step, pages, steps
from tests.docs.reader import Reader
from tests.emissions import fault
from tests.packages import need

TOOLS = {
    "curl": ("curl",),
    "jq": ("jq",),
    "mosquitto": ("mosquitto",),
    "mosquitto_sub": ("mosquitto-clients",),
    "openssl": ("openssl",),
    "softhsm2-util": ("softhsm2",),
    "swtpm": ("swtpm", "tpm2-openssl"),
    "tpm2_getcap": ("tpm2-tools",),
}
"""Programs that documents use and that a machine may lack, and the Debian packages that bring them."""


QUICK = ("how-to/connect-a-payment-terminal.md", "how-to/diagnose-can-and-connections.md")
"""Documents that are run at every change; `make long` runs all."""


def _documents() -> Iterator[object]:
    for page in pages():
        todo = steps(page.read_text())
        if any(isinstance(step, Command) for step in todo):
            name = str(page.relative_to(ROOT))
            yield pytest.param(todo, id=name, marks=() if name.endswith(QUICK) else pytest.mark.long)


@pytest.mark.e2e
@pytest.mark.parametrize("todo", list(_documents()))
def test_a_document_does_what_it_says(todo: list[Step], tmp_path: Path) -> None:
    words = {word for step in todo if isinstance(step, Command) for word in re.findall(r"[\w-]+", step.text)}
    for tool in words.intersection(TOOLS):
        need(*TOOLS[tool])
    reader = Reader(tmp_path)
    try:
        for step in todo:
            reader.do(step)
    finally:
        reader.leave()
    lines = (line for file in tmp_path.rglob("*.events.jsonl") for line in file.read_bytes().splitlines())
    assert {fault(**msgspec.json.decode(line)) for line in lines} <= {""}, "events that the reference does not list"


def test_every_page_with_commands_is_run_or_says_why_not() -> None:
    silent = [
        str(page.relative_to(ROOT))
        for page in pages()
        if "```console" in page.read_text() and not steps(page.read_text()) and "<!-- not run:" not in page.read_text()
    ]
    assert not silent
