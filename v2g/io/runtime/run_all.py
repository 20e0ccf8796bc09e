"""Runs several steps regardless of exceptions, such as those that switch power off
and open the contactor.
"""

import logging
from collections.abc import Callable, Iterable

_log = logging.getLogger(__name__)


def run_all(steps: Iterable[Callable[[], object]]) -> bool:
    """Run all of them, in order. Exceptions are logged, and the next one still runs; return whether there were
    none."""
    done = True
    for step in steps:
        try:
            step()
        except Exception:  # noqa: BLE001 - the next step may be the one that removes power
            _log.exception("a safety step has failed")
            done = False
    return done
