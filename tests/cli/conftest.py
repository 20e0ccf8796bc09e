"""Runs `v2g` in this process."""

import io
import logging
import os
import runpy
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


def become_here(patch: pytest.MonkeyPatch) -> None:
    """Let `v2g` run in this process what it becomes."""

    def become(_python: str, arguments: list[str]) -> None:
        patch.setattr(sys, "argv", arguments[arguments.index("-m") + 1 :])
        root = logging.getLogger()
        handlers, level = root.handlers[:], root.level
        try:
            runpy.run_module(sys.argv[0], run_name="__main__")
        finally:  # else it goes on to log, to a stream that is closed
            root.handlers[:] = handlers
            root.setLevel(level)

    patch.setattr(os, "execv", become)


@pytest.fixture
def v2g(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Return a function that runs `v2g` with arguments and standard input."""

    def run(*arguments: str, given: bytes = b"") -> Done:
        monkeypatch.setattr(sys, "argv", ["v2g", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
        become_here(monkeypatch)
        capfdbinary.readouterr()
        code = 0
        root = logging.getLogger()
        handlers, level = root.handlers[:], root.level
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        finally:  # else a server's log goes on, to a stream that is closed
            root.handlers[:] = handlers
            root.setLevel(level)
        output, errors = capfdbinary.readouterr()
        return Done(code, output.decode("utf-8", "surrogateescape"), errors.decode())

    return run
