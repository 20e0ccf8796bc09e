"""A bench with DIN 70121."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from pki_tools.tree import PkiTree
from secc.session.config import SeccConfig
from tests.secc.session.din.bench import CONFIG, DinBench

MakeDin = Callable[..., DinBench]


@pytest.fixture
def make_din(pki: PkiTree) -> MakeDin:
    """Return a maker of benches: `make_din(config, **session_options)`."""

    def make(config: SeccConfig = CONFIG, **options: Any) -> DinBench:
        return DinBench(pki, time.time_ns() // 1_000_000, config, **options)

    return make


@pytest.fixture
def din(make_din: MakeDin) -> DinBench:
    """Return a bench with direct current and external identification."""
    return make_din()
