"""Runs `v2g` in this process."""

import io
import sys
from collections.abc import Callable

import msgspec
import pytest

from v2g_cli.main import main


class Done(msgspec.Struct, frozen=True):
    """How a command ended and what it wrote."""

    code: int
    output: str
    """Octets that are not UTF-8 are surrogates."""
    errors: str


Run = Callable[..., Done]


@pytest.fixture
def v2g(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Return a function that runs `v2g` with arguments and standard input."""

    def run(*arguments: str, given: bytes = b"") -> Done:
        monkeypatch.setattr(sys, "argv", ["v2g", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
        capfdbinary.readouterr()
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        output, errors = capfdbinary.readouterr()
        return Done(code, output.decode("utf-8", "surrogateescape"), errors.decode())

    return run
