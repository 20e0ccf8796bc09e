"""Benches with ISO 15118-2."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from pki_tools.tree import PkiTree
from secc.session.config import SeccConfig
from tests.io.tls.support import pki_2
from tests.secc.session.d2.bench import CONFIG, Iso2Bench
from tests.secc.session.d2.contract_bench import SweptBench

__all__ = ["pki_2"]

MakeIso2 = Callable[..., Iso2Bench]
MakeSwept = Callable[[str, bool], Iso2Bench]


@pytest.fixture
def make_iso2(pki: PkiTree) -> MakeIso2:
    """Return a maker of benches: `make_iso2(config, **session_options)`."""

    def make(config: SeccConfig = CONFIG, **options: Any) -> Iso2Bench:
        return Iso2Bench(pki, time.time_ns() // 1_000_000, config, **options)

    return make


@pytest.fixture
def make_swept(pki: PkiTree, pki_2: PkiTree) -> MakeSwept:
    """Return a maker of benches by what pays: `make_swept(paid, alternating)`."""

    def make(paid: str, alternating: bool) -> Iso2Bench:
        if paid == "contract":
            return SweptBench(pki_2, alternating=alternating)
        return Iso2Bench(pki, time.time_ns() // 1_000_000, alternating=alternating)

    return make


@pytest.fixture
def dc(make_iso2: MakeIso2) -> Iso2Bench:
    """Return a bench with direct current."""
    return make_iso2()


@pytest.fixture
def ac(make_iso2: MakeIso2) -> Iso2Bench:
    """Return a bench with alternating current."""
    return make_iso2(alternating=True)
