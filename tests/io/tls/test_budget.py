"""The budget of handshakes: strangers, known vehicles, and what a finished one gives back."""

from hypothesis import given
from hypothesis import strategies as st

from v2g.io.tls import server
from v2g.io.tls.server import HandshakeBudget


@given(st.lists(st.tuples(st.integers(0, 300), st.floats(0, 0.1)), max_size=300))
def test_what_strangers_begin_and_do_not_finish_is_bounded(begun: list[tuple[int, float]]) -> None:
    left, now, taken = HandshakeBudget(), 0.0, 0
    for address, pause in begun:
        now += pause
        taken += not left.take(str(address), now)
    assert taken <= server.STRANGERS_BURST + now * server.STRANGERS_PER_S + 1e-6


def test_one_address_has_its_own_limit_known_or_not_and_takes_nothing_beyond_it_from_others() -> None:
    left = HandshakeBudget()
    assert sum(not left.take("a", 0.0) for _ in range(1000)) == server.ADDRESS_BURST
    assert sum(not left.take("b", 0.0) for _ in range(1000)) == server.STRANGERS_BURST - server.ADDRESS_BURST
    assert left.take("c", 0.0) == 1 / server.STRANGERS_PER_S
    assert left.take("a", 0.0) == 1 / server.ADDRESS_PER_S
    assert left.take("a", 1.0) == 0.0


def test_who_finishes_may_go_on_for_ever_with_or_without_a_certificate() -> None:
    left = HandshakeBudget()
    for trusted in (True, False):
        address = f"trusted {trusted}"
        for _ in range(1000):
            assert left.take(address, 0.0) == 0.0
            left.finish(address, trusted=trusted)
        assert left.knows(address) is trusted


def test_a_known_address_does_not_wait_for_strangers_until_it_is_forgotten() -> None:
    left = HandshakeBudget()
    left.take("vehicle", 0.0)
    left.finish("vehicle", trusted=True)
    for number in range(100):
        left.take(str(number), 0.0)
    assert left.take("another vehicle", 0.0) > 0
    assert left.take("vehicle", 0.0) == 0
    for number in range(server.KNOWN):
        left.finish(f"later {number}", trusted=True)
    assert not left.knows("vehicle")
