"""How often tests that are marked `long` kill a program, and how far they are.

`V2G_KILLS=5000 .venv/bin/pytest -s -m long tests/station/test_killed.py` kills as often and shows how it goes on.
"""

import os
import sys
import time
from typing import Final

MANY: Final = int(os.environ.get("V2G_KILLS", "1000"))
"""How often a program is killed where that takes long."""

EVERY: Final = 25


class Progress:
    """Says on standard error, which pytest shows with `-s`, how many kills are done and how long each took."""

    def __init__(self, of: int) -> None:
        self._of = of
        self._done = 0
        self._began = time.monotonic()

    def __call__(self, **figures: int) -> None:
        """One more is done; `figures` are shown beside it."""
        self._done += 1
        if self._done % EVERY == 0:
            each = (time.monotonic() - self._began) / self._done
            more = "".join(f", {name} {value}" for name, value in figures.items())
            sys.stderr.write(f"{self._done} of {self._of} kills, {each:.2f} s each{more}\n")
