"""A short run of the fuzzers; `make fuzz` is the long one."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.exi.strategies import any_elements
from tests.fuzz import csms, judges, ocpp, sessions, trust
from tests.fuzz.exi import attempt
from tests.fuzz.mutations import mutated
from tests.fuzz.targets import KINDS, TARGETS, any_stream, seeds, stream, text
from v2g.exi import encode_fragment
from v2g.iso15118.engine.schemas import XMLDSIG
from v2g.iso15118.engine.xmldsig import Object

pytestmark = pytest.mark.requirement("R153")

INPUTS = 1200


@pytest.mark.some(2)
@pytest.mark.parametrize("name", list(TARGETS))
def test_mutated_messages(name: str) -> None:
    function, make_seeds = TARGETS[name]
    corpus, chance = make_seeds(), random.Random(20)
    # signatures take their time, and sessions more
    slow = name in sessions.TARGETS | ocpp.TARGETS | csms.TARGETS | judges.TARGETS
    for _ in range(INPUTS // (40 if slow else 4 if name in trust.TARGETS else 1)):
        attempt(function, mutated(corpus, chance), name)


def test_every_seed_is_understood() -> None:
    """Otherwise mutations would begin with what is refused at once."""
    for seed in seeds():
        schema, is_fragment = KINDS[seed[0]]
        any_stream(seed[1:], schema, is_fragment=is_fragment)


@settings(max_examples=150, deadline=None)
@given(kind=st.integers(0, 255), header=st.booleans(), octets=st.binary(max_size=200))
def test_garbage(kind: int, header: bool, octets: bytes) -> None:
    stream(bytes((kind,)) + (b"\x80" if header else b"") + octets)
    text(bytes((kind,)) + octets)


@pytest.mark.long
@settings(max_examples=200, deadline=None)
@given(content=st.lists(any_elements(4), min_size=1, max_size=4), flips=st.lists(st.integers(0, 2**16), max_size=3))
def test_undeclared_elements(content: list[object], flips: list[int]) -> None:
    element = Object(content=tuple(content))  # type: ignore[arg-type]
    octets = bytearray(encode_fragment(element, XMLDSIG))
    for flip in flips:
        octets[flip // 8 % len(octets)] ^= 1 << flip % 8
    any_stream(bytes(octets), XMLDSIG, is_fragment=True)
