"""What a command does about exceptions that no code expects: a line for the user, details in a file for a report."""

import contextlib
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from v2g.errors import V2GError
from v2g.observe import Scalar, defect
from v2g.text import redacted
from v2g.version import VERSION
from v2g_cli.options import command_line
from v2g_cli.output import say

MOST: Final = 10
"""Defects that are printed and written down; further ones are counted."""

_OWN: Final = frozenset(
    {"asyncio", "csms", "evcc", "pki_tools", "secc", "v2g", "v2g_cli", "v2g_gateway", "v2g_station", "v2g_testkit"}
)
"""Loggers whose exceptions are ours; what other packages log is about peers."""


class Defects(logging.Handler):
    """Log of a command: a line each on standard error, and never a traceback there.

    A record is about a defect if one of our loggers has an exception that is no V2GError, or has the fields of
    `v2g.observe.defect` as `defect` (`extra`).
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.count = 0
        self._file: Path | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        error = record.exc_info[1] if record.exc_info else None
        said = redacted(record.getMessage()) + (f": {error}" if error is not None else "")
        if (fields := getattr(record, "defect", None)) is not None:
            self.report(record.getMessage(), fields)
        elif record.name.split(".")[0] in _OWN and isinstance(error, Exception) and not isinstance(error, V2GError):
            self.report(record.getMessage(), defect(error))
        else:
            say(f"v2g: {said}"[:500], err=True)

    def report(self, where: str, found: dict[str, Scalar]) -> None:
        """Print a defect and write it down: where it was, and the fields of `v2g.observe.defect`."""
        self.count += 1
        if self.count > MOST:
            return
        say(f"v2g: a defect of this program, {redacted(where)[:200]}: {found['error']}", err=True)
        try:
            self._write(f"{where}\n{found['traceback']}\n")
        except OSError as error:
            say(f"     it could not be written down: {error.strerror}", err=True)
        else:
            say(f"     please report it with {self._file}, which has no keys and passwords", err=True)

    def _write(self, text: str) -> None:
        if self._file is None:
            import platform
            import ssl
            import tempfile

            handle, name = tempfile.mkstemp(prefix="v2g-defect-", suffix=".txt")  # mode 0600
            self._file = Path(name)
            about = (VERSION, platform.python_version(), ssl.OPENSSL_VERSION, platform.platform())
            text = f"{command_line()}\n{', '.join(about)}\n\n{text}"
        else:
            handle = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        with os.fdopen(handle, "a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)


@contextlib.contextmanager
def reporting_defects() -> Iterator[Defects]:
    """Report exceptions that no code expects: of the event loop, its tasks and of threads, while a command runs."""
    found, root, hook = Defects(), logging.getLogger(), threading.excepthook

    def on_thread(arguments: threading.ExceptHookArgs) -> None:
        if isinstance(arguments.exc_value, Exception):
            name = arguments.thread.name if arguments.thread else ""
            found.report(f"thread {name}", defect(arguments.exc_value))

    root.addHandler(found)
    threading.excepthook = on_thread
    try:
        yield found
    finally:
        threading.excepthook = hook
        root.removeHandler(found)
