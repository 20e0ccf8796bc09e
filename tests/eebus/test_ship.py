"""SHIP 1.0.1: both sides joined in memory, and one against frames written by hand (R206)."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.together import together
from v2g.eebus.ship import ShipConnection

READY = b'\x01{"connectionHello":[{"phase":"ready"},{"waiting":60000}]}'
PENDING = b'\x01{"connectionHello":[{"phase":"pending"},{"waiting":60000}]}'
ABORTED = b'\x01{"connectionHello":[{"phase":"aborted"}]}'
ANNOUNCE = (
    b'\x01{"messageProtocolHandshake":[{"handshakeType":"announceMax"},{"version":[{"major":1},{"minor":0}]},'
    b'{"formats":[{"format":["JSON-UTF8"]}]}]}'
)
SELECT = ANNOUNCE.replace(b"announceMax", b"select")
PIN = b'\x01{"connectionPinState":[{"pinState":"none"}]}'
ASK = b'\x01{"accessMethodsRequest":[]}'
METHODS = b'\x01{"accessMethods":[{"id":"charger"}]}'


def side(*, client: bool, trusted: bool = True, peer_id: str | None = None) -> ShipConnection:
    return ShipConnection(client=client, ship_id="charger", trusted=trusted, now=0.0, peer_id=peer_id)


def join(one: ShipConnection, other: ShipConnection, now: float = 0.0) -> None:
    """Carry frames until both are quiet."""
    while frames := [(other, each) for each in one.take()] + [(one, each) for each in other.take()]:
        for to, frame in frames:
            to.receive(frame, now)


@pytest.mark.requirement("R206")
def test_both_sides_reach_data_and_close() -> None:
    client = ShipConnection(client=True, ship_id="box", trusted=True, now=0.0)
    server = side(client=False)
    join(client, server)
    assert (client.phase, server.phase) == ("data", "data")
    assert (client.peer_id, server.peer_id) == ("charger", "box")
    client.send(b'{"datagram":[]}')
    join(client, server)
    assert list(server.received) == [b'{"datagram":[]}']
    client.close(1.0)
    join(client, server, 1.0)
    assert (client.ended, server.ended) == (4001, 4001)


def test_a_server_says_byte_for_byte_what_the_standard_says() -> None:
    server = side(client=False)
    said: list[list[bytes]] = []
    for frame in (b"\0\0", READY, ANNOUNCE, SELECT, PIN, ASK, METHODS):
        server.receive(frame, 0.0)
        said.append(server.take())
    assert said == [[b"\0\0", READY], [], [SELECT], [PIN], [ASK], [METHODS], []]
    assert server.phase == "data"
    server.send(b"{}")
    assert server.take() == [b'\x02{"data":[{"header":[{"protocolId":"ee1.0"}]},{"payload":{}}]}']


def test_a_client_says_byte_for_byte_what_the_standard_says() -> None:
    client = side(client=True)
    said = [client.take()]
    for frame in (b"\0\0", READY, SELECT, PIN, ASK, METHODS):
        client.receive(frame, 0.0)
        said.append(client.take())
    assert said == [[b"\0\0"], [READY], [ANNOUNCE], [SELECT, PIN], [ASK], [METHODS], []]
    assert client.phase == "data"


def test_a_pending_side_asks_for_more_time_until_the_user_trusts() -> None:
    client, server = side(client=True), side(client=False, trusted=False)
    join(client, server)
    assert not server.trusted
    assert server.due == 30.0
    for now in (30.0, 60.0, 90.0):
        server.tick(now)
        join(client, server, now)
        client.tick(now + 29)
    assert (client.phase, server.phase) == ("hello", "hello")
    server.trust(100.0)
    join(client, server, 100.0)
    assert (client.phase, server.phase) == ("data", "data")


def test_who_is_not_trusted_in_time_is_refused() -> None:
    server = side(client=False)
    for frame in (b"\0\0", PENDING):
        server.receive(frame, 0.0)
    server.take()
    server.tick(60.0)
    assert (server.take(), server.ended) == ([ABORTED], None)
    server.tick(61.0)
    assert server.ended == 4452


@together(
    ("frames", "sent", "code"),
    [
        ([b"\0\1"], [b"\0\0"], 4001),
        ([b"\1\0"], [b"\0\0"], 4001),
        ([b"\0\0", READY, SELECT], [b'\x01{"messageProtocolHandshakeError":[{"error":2}]}'], 4001),
        (
            [b"\0\0", READY, ANNOUNCE.replace(b"JSON-UTF8", b"JSON-UTF16")],
            [b'\x01{"messageProtocolHandshakeError":[{"error":3}]}'],
            4001,
        ),
        ([b"\0\0", READY, ANNOUNCE, SELECT, PIN.replace(b"none", b"required")], [PIN], 4452),
        ([b"\0\0", ABORTED], [READY], 4452),
        ([b"\0\0", READY, b'\x01{"error":1}'], [], 4001),
        ([b"\0\0", b"\1{"], [ABORTED], 4452),
        ([b"\0\0", READY, b"\2{}"], [], 4001),
    ],
)
def test_what_breaks_the_handshake_ends_it(frames: list[bytes], sent: list[bytes], code: int) -> None:
    server = side(client=False)
    for frame in frames:
        server.receive(frame, 0.0)
    assert server.take()[-len(sent) or None :][: len(sent)] == sent if sent else True
    server.tick(2.0)
    assert server.ended == code
    assert server.why


def test_another_id_than_before_ends_the_connection() -> None:
    server = side(client=False, peer_id="the box")
    for frame in (b"\0\0", READY, ANNOUNCE, SELECT, PIN, METHODS):
        server.receive(frame, 0.0)
    assert server.ended == 4450


@pytest.mark.parametrize("frames", [[], [b"\0\0", READY], [b"\0\0", READY, ANNOUNCE, SELECT]])
def test_silence_in_the_handshake_ends_it(frames: list[bytes]) -> None:
    server = side(client=False)
    for frame in frames:
        server.receive(frame, 0.0)
    server.tick(10.0)
    server.tick(11.0)
    assert server.ended is not None


def _spaced(text: bytes) -> bytes:
    return text[:1] + json.dumps(json.loads(text[1:]), indent=2).encode() + b"\0\0"


def _plain(text: bytes) -> bytes:
    """Return a message with plain objects in place of arrays of them."""

    def undo(value: object) -> object:
        if isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
            return {name: undo(each) for part in value for name, each in part.items()}
        return {name: undo(each) for name, each in value.items()} if isinstance(value, dict) else value

    return text[:1] + json.dumps(undo(json.loads(text[1:]))).encode()


@pytest.mark.parametrize("form", [_spaced, _plain])
def test_other_forms_of_json_are_read_too(form: Callable[[bytes], bytes]) -> None:
    server = side(client=False)
    server.receive(b"\0\0", 0.0)
    for frame in (READY, ANNOUNCE, SELECT, PIN, METHODS):
        server.receive(form(frame), 0.0)
    assert server.phase == "data"


@settings(max_examples=40)
@given(st.lists(st.one_of(st.binary(max_size=200), st.sampled_from([READY, ANNOUNCE, SELECT, PIN, ASK, METHODS]))))
def test_arbitrary_frames_end_a_connection_or_not_but_never_raise(frames: list[bytes]) -> None:
    server = side(client=False)
    server.receive(b"\0\0", 0.0)
    for frame in frames:
        server.receive(frame, 0.0)
    assert server.due is not None or server.phase in ("data", "closed")
