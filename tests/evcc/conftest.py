"""Fixtures of the vehicle's tests."""

import pytest

from tests.evcc.session.bench import SHORT, Bench, Identities


@pytest.fixture(scope="session")
def identities() -> Identities:
    return Identities()


@pytest.fixture
def bench(identities: Identities) -> Bench:
    """A session that charges 100 Wh, twenty times as fast."""
    return Bench(identities, SHORT, scale=20)
