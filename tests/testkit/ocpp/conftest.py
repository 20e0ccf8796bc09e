"""A back end in memory for the tester of back ends."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import pytest

from csms.db.group_commit import GroupCommit
from tests.csms.fixtures import backend
from tests.patient import PatientLoop
from tests.virtual_time import VirtualLoop, waited_for

__all__ = ["backend"]

SIMULATED: Final = ("test_csms_mutants", "test_csms_mutants_21", "test_csms_vehicles")
"""Modules of faulty back ends in memory: what is waited for in vain takes no time."""


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run such tests in simulated time, which passes only while no thread works."""
    simulated = item.path.stem in SIMULATED
    return {"simulated": lambda: VirtualLoop(waits=True)} if simulated else {"patient": PatientLoop}


@pytest.fixture(autouse=True)
def store_in_no_time(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no time pass while the store's own threads work."""
    if request.path.stem in SIMULATED:
        for name in ("run", "gather"):
            monkeypatch.setattr(GroupCommit, name, waited_for(getattr(GroupCommit, name)))
