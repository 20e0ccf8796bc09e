"""Doing one thing after the other, whatever one of them raises: nothing may stand between a reason to switch power off
and the contactor.
"""

import logging
from collections.abc import Callable, Iterable

_log = logging.getLogger(__name__)


def run_all(steps: Iterable[Callable[[], object]]) -> bool:
    """Do all of them, in order. What one raises is logged, and the next is done all the same; return whether
    none has."""
    done = True
    for step in steps:
        try:
            step()
        except Exception:  # noqa: BLE001 - whatever it is, the next one may be what takes power away
            _log.exception("a step on the way to safety has failed")
            done = False
    return done
