"""Fixtures of the vehicle's tests."""

import pytest

from tests.evcc.bench import Bench, Identities


@pytest.fixture(scope="session")
def identities() -> Identities:
    return Identities()


@pytest.fixture
def bench(identities: Identities) -> Bench:
    return Bench(identities)
