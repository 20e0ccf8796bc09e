"""The fuzzers of certificates and what goes with them begin with what is believed; `make fuzz` runs them at length."""

import inspect

import pytest

from tests.fuzz.trust import TARGETS
from tests.together import together

pytestmark = pytest.mark.requirement("R153")


@together("name", list(TARGETS))
def test_every_seed_is_believed(name: str) -> None:
    """Otherwise mutations would begin with what is refused at once."""
    function, seeds = TARGETS[name]
    for seed in seeds():
        assert inspect.unwrap(function)(seed)
