"""A connection whose session is chosen by the peer's first frame: nothing is lost, and everything is passed on."""

from typing import Any

import pytest

from v2g.errors import CodecError
from v2g.iso15118.engine.negotiated import Negotiated
from v2g.iso15118.engine.session import Fact
from v2g.iso15118.engine.v2gtp import Frame, PayloadType, frame

pytestmark = pytest.mark.requirement("R15")


class Noting:
    """A session that notes what it receives."""

    def __init__(self, name: str) -> None:
        self.name, self.calls = name, list[Any]()
        self.closed, self.reason, self.state, self.session_id, self.newest = False, name, name, name, name

    def __getattr__(self, word: str) -> Any:
        def call(*arguments: Any) -> str:
            self.calls.append((word, *arguments))
            return f"{self.name} {word}"

        return call


class Either(Negotiated[Any]):
    """Chosen by the payload: `b`, or what cannot be read, otherwise `a` goes on."""

    def __init__(self, *, chooses: bool = True) -> None:
        self.a, self.b = Noting("a"), Noting("b")
        super().__init__(self.a, chooses=chooses)

    def _chosen(self, first: Frame, now: float) -> Any:
        if first.payload == b"?":
            raise CodecError("unreadable")
        return self.b if first.payload == b"b" else None


FACT = Fact()


@pytest.mark.parametrize(("payload", "chosen"), [(b"a", "a"), (b"b", "b"), (b"?", "a")])
@pytest.mark.parametrize("pieces", [1, 3])
def test_the_first_frame_chooses_and_nothing_is_lost(payload: bytes, chosen: str, pieces: int) -> None:
    found, data = Either(), frame(PayloadType.SAP, payload) + b"more"
    found.start(1.0, 2)
    found.fact(FACT, 1.5, 3)
    size = -(-len(data) // pieces)
    for at in range(0, len(data), size):
        found.receive(data[at : at + size], 2.0, 4)
    assert found.session.name == chosen
    got = b"".join(call[1] for call in found.session.calls if call[0] == "receive")
    assert got == data
    assert [call for call in found.session.calls if call[0] in ("start", "fact")] == [
        ("start", *((2.0, 4) if chosen == "b" else (1.0, 2))),
        ("fact", FACT, *((2.0, 4) if chosen == "b" else (1.5, 3))),
    ]
    found.receive(b"later", 3.0, 5)
    assert found.session.calls[-1] == ("receive", b"later", 3.0, 5)


@pytest.mark.parametrize("payload", [b"a", b"b", b"?"])
def test_only_the_first_handshake_chooses(payload: bytes) -> None:
    found = Either()
    found.receive(frame(PayloadType.SAP, payload), 2.0, 4)
    chosen = found.session.name
    for other in (b"a", b"b"):
        found.receive(frame(PayloadType.SAP, other), 3.0, 5)
    assert found.session.name == chosen
    assert len(found.b.calls) == (4 if chosen == "b" else 0)


ODD = (
    frame(PayloadType.SAP, b""),
    frame(0xA000, b"b"),
    frame(0x7000, b"b"),
    b"\xff\xfe" + frame(PayloadType.SAP, b"b")[2:],
)


@pytest.mark.parametrize("payload", [b"a", b"b"])
@pytest.mark.parametrize("size", [1, 7, 999])
def test_frames_before_the_handshake_are_the_first_ones_and_choose_nothing(payload: bytes, size: int) -> None:
    found, before, after = Either(), b"".join(ODD), frame(PayloadType.SAP, payload) + b"more"
    data = before + after
    for at in range(0, len(data), size):
        found.receive(data[at : at + size], 2.0, 4)
    got = {each: b"".join(call[1] for call in each.calls if call[0] == "receive") for each in (found.a, found.b)}
    if payload == b"a":
        assert got == {found.a: data, found.b: b""}
    else:
        assert got[found.b] == after
        assert data.startswith(got[found.a])


def test_without_a_choice_everything_goes_to_the_only_session() -> None:
    found = Either(chooses=False)
    found.receive(frame(PayloadType.SAP, b"b")[:5], 2.0, 4)
    assert found.a.calls == [("receive", frame(PayloadType.SAP, b"b")[:5], 2.0, 4)]


def test_everything_else_is_passed_on() -> None:
    found = Either()
    assert (found.closed, found.reason, found.state, found.session_id, found.newest) == (False, "a", "a", "a", "a")
    assert found.decode(1, b"x") == "a decode"  # type: ignore[comparison-overlap]
    assert found.deadline() == "a deadline"  # type: ignore[comparison-overlap]
    assert found.actions() == "a actions"  # type: ignore[comparison-overlap]
    found.receive_eof(1.0, 2)
    found.tick(3.0, 4)
    found.abort("why", 5.0, 6)
    assert found.a.calls == [
        ("decode", 1, b"x"),
        ("deadline",),
        ("actions",),
        ("receive_eof", 1.0, 2),
        ("tick", 3.0, 4),
        ("abort", "why", 5.0, 6),
    ]
