"""A bench with everything at its default, and one to be made as a test wants."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from pki_tools.tree import PkiTree
from secc.session.config import SeccConfig
from tests.secc.session.bench import Bench

MakeBench = Callable[..., Bench]


@pytest.fixture
def make_bench(pki: PkiTree) -> MakeBench:
    """Return a maker of benches: `make_bench(config, **session_options)`."""

    def make(config: SeccConfig | None = None, **options: Any) -> Bench:
        return Bench(options.pop("pki", pki), time.time_ns() // 1_000_000, config, **options)

    return make


@pytest.fixture
def bench(make_bench: MakeBench) -> Bench:
    """Return a bench with the default configuration: Plug & Charge, DC_BPT, dynamic, signed discharge."""
    return make_bench()
