"""Time and memory grow with the size of the input, not faster, whatever the input is made of."""

import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from v2g.errors import ExiDecodeError
from v2g.exi import decode_fragment, encode_fragment
from v2g.exi.declare import AnyAttribute, AnyElement, Element, Schema
from v2g.iso15118.din.messages.data_types import ChargingProfile, ProfileEntry
from v2g.iso15118.din.schemas import DIN
from v2g.iso15118.engine.schemas import XMLDSIG
from v2g.iso15118.engine.xmldsig import DigestMethod, KeyInfo, KeyName, MgmtData, Object

SIZE = 400
"""Items of the smaller input; the larger one has eight times as many."""


def text(size: int) -> Element:
    return MgmtData(value="a" * size * 8)


def wide_text(size: int) -> Element:
    return MgmtData(value="\u00e9\U0001f50c" * size)


def unbounded_list(size: int) -> Element:
    entries = (
        ProfileEntry(charging_profile_entry_start=each, charging_profile_entry_max_power=-each % 30_000)
        for each in range(size)
    )
    return ChargingProfile(sa_schedule_tuple_id=1, profile_entry=tuple(entries))


def ordered_content(size: int) -> Element:
    return KeyInfo(content=tuple(each for at in range(size // 2) for each in (KeyName(value=str(at)), "text")))


def undeclared_elements(size: int) -> Element:
    return Object(content=tuple(AnyElement(namespace="urn:a", name="b") for _ in range(size)))


def new_names(size: int) -> Element:
    return Object(content=tuple(AnyElement(namespace="urn:a", name=f"n{at}") for at in range(size // 2)))


def new_namespaces(size: int) -> Element:
    return Object(content=tuple(AnyElement(namespace=f"urn:{at}", name="n") for at in range(size // 2)))


def attributes(size: int) -> Element:
    found = (AnyAttribute(namespace="", name=f"n{at}", value="v") for at in range(size // 2))
    return DigestMethod(
        algorithm="x", content=(AnyElement(namespace="urn:a", name="b", attributes=tuple(sorted(found, key=repr))),)
    )


GROWING: list[tuple[Callable[[int], Element], Schema]] = [
    (text, XMLDSIG),
    (wide_text, XMLDSIG),
    (unbounded_list, DIN),
    (ordered_content, XMLDSIG),
    (undeclared_elements, XMLDSIG),
    (new_names, XMLDSIG),
    (new_namespaces, XMLDSIG),
    (attributes, XMLDSIG),
]


@pytest.mark.some(2)
@pytest.mark.parametrize(("make", "schema"), GROWING, ids=lambda each: getattr(each, "__name__", ""))
def test_time_is_linear(make: Callable[[int], Element], schema: Schema) -> None:
    """Eight times the input may take twice eight times as long, where a quadratic step would take 64 times as long."""
    for _ in range(3):  # another process may have had the processor
        (small, read_small, write_small), (large, read_large, write_large) = (
            measure(make(size), schema) for size in (SIZE, 8 * SIZE)
        )
        growth = large / small
        if read_large < 2 * growth * read_small and write_large < 2 * growth * write_small:
            return
    pytest.fail(f"{growth:.1f} times the octets: {read_large / read_small:.1f}, {write_large / write_small:.1f}")


def measure(element: Element, schema: Schema) -> tuple[int, float, float]:
    """Return the size of the stream and the seconds of processor time to read and to write it."""
    octets = encode_fragment(element, schema)
    assert decode_fragment(octets, schema) == element
    return (
        len(octets),
        least(lambda: decode_fragment(octets, schema)),
        least(lambda: encode_fragment(element, schema)),
    )


def least(work: Callable[[], Any]) -> float:
    spans = []
    for _ in range(4):
        start = time.process_time()
        work()
        spans.append(time.process_time() - start)
    return max(min(spans), 1e-4)


@pytest.mark.parametrize(("make", "schema"), GROWING, ids=lambda each: getattr(each, "__name__", ""))
def test_memory_is_linear(make: Callable[[int], Element], schema: Schema) -> None:
    octets = encode_fragment(make(SIZE), schema)
    tracemalloc.start()
    decode_fragment(octets, schema)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200 * len(octets) + 100_000


def test_a_lie_about_the_size_costs_nothing() -> None:
    """Lengths of 4 GiB at every place where one may stand."""
    octets = encode_fragment(KeyInfo(content=(KeyName(value="name"), "text")), XMLDSIG)
    tracemalloc.start()
    for bit in range(8, 8 * len(octets)):
        head = int.from_bytes(octets) >> 8 * len(octets) - bit
        lie = head << 40 | 0xFFFFFFFF0F
        stream = (lie << -(bit + 40) % 8).to_bytes((bit + 47) // 8) + octets
        with pytest.raises(ExiDecodeError):
            decode_fragment(stream, XMLDSIG)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000
