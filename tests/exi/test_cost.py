"""What a hostile stream costs: steps in proportion to its octets, whatever it is."""

import sys
from collections import defaultdict
from typing import Any

import pytest

from tests.exi.vectors import Vector, load
from tests.together import together
from v2g.errors import ExiDecodeError
from v2g.exi import decode

FILLS = (b"\x00", b"\xff", b"\x55")
SIZES = (4_000, 10_000, 16_000)


def _kinds() -> list[Vector]:
    found: dict[Any, list[Vector]] = defaultdict(list)
    for each in load():
        if not each.fragment:
            found[each.schema.uri].append(each)
    return [each for all_ in found.values() for each in sorted(all_, key=lambda one: len(one.octets))[-2:]]


def steps(octets: bytes, vector: Vector) -> int:
    """Return how many functions of Python and C a stream has called when it is decoded or refused."""
    count = 0

    def counted(*_: Any) -> None:
        nonlocal count
        count += 1

    before = sys.getprofile()
    sys.setprofile(counted)
    try:
        decode(octets, vector.schema)
    except ExiDecodeError:
        pass
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.requirement("R153")
@together("vector", _kinds(), ids=lambda each: f"{each.root}-{len(each.octets)}")
def test_hostile_streams_cost_in_proportion_to_their_size(vector: Vector) -> None:
    """A beginning of a message, then octets of which each decodes to something."""
    for fill in FILLS:
        for kept in (len(vector.octets) // 4, len(vector.octets) // 2):
            begun = vector.octets[:kept]
            steps(begun + fill * SIZES[0], vector)  # the first stream of a kind also makes its functions
            few, more, most = (steps(begun + fill * (size - kept), vector) for size in SIZES)
            assert most - more <= 1.2 * (more - few) + 1000, (fill, kept)
