"""A charger's EEBUS: frames of SHIP, and datagrams of SPINE, are taken or refused, and limits stay limits."""

import json

from tests.eebus.guard import CHARGER, Guard, Joined, feature
from v2g.eebus.ship import ShipConnection
from v2g.errors import CodecError


def ship(data: bytes) -> None:
    """The first octet says which side it is and how the rest is cut; no frame raises."""
    if not data:
        return
    side = ShipConnection(client=bool(data[0] & 1), ship_id="charger", trusted=bool(data[0] & 2), now=0.0)
    for number, frame in enumerate(data[1:].split(b"\n")):
        side.receive(frame, number / 10)
        side.tick(number / 10)
        assert all(len(each) >= 2 for each in side.take())


def ship_seeds() -> list[bytes]:
    """Return the handshake of either side."""
    frames = [
        b"\0\0",
        b'\x01{"connectionHello":[{"phase":"ready"},{"waiting":60000}]}',
        (
            b'\x01{"messageProtocolHandshake":[{"handshakeType":"select"},{"version":[{"major":1},{"minor":0}]},'
            b'{"formats":[{"format":["JSON-UTF8"]}]}]}'
        ),
        b'\x01{"connectionPinState":[{"pinState":"none"}]}',
        b'\x01{"accessMethods":[{"id":"box"}]}',
        b'\x02{"data":[{"header":[{"protocolId":"ee1.0"}]},{"payload":{"datagram":[]}}]}',
        b'\x03{"connectionClose":[{"phase":"announce"},{"maxTime":500}]}',
    ]
    return [bytes((side,)) + b"\n".join(frames) for side in range(4)]


def spine(data: bytes) -> None:
    """Datagrams of a box that is bound, one a line."""
    joined = Joined()
    joined.connect()
    joined.beat()
    assert joined.link is not None
    for line in data.split(b"\n"):
        try:
            joined.system.receive(joined.link, line, joined.at)
        except CodecError:
            continue
        for each in (joined.system.charge_w, joined.system.discharge_w):
            assert each is None or each >= 0
        assert 7200 <= joined.system.failsafe.duration_s <= 86_400
        for each in joined.link.take():
            json.loads(each)


def spine_seeds() -> list[bytes]:
    """Return what boxes send."""
    box = Guard()
    limit = {
        "limitId": 0,
        "isLimitActive": True,
        "value": {"number": 4200, "scale": 0},
        "timePeriod": {"endTime": "PT9M"},
    }
    lines = [
        box.limit(limit),
        box.limit({"limitId": 1, "isLimitActive": False, "value": {"number": -2, "scale": 3}}, ended=True),
        box.key(0, {"scaledNumber": {"number": 7560, "scale": 0}}),
        box.key(2, {"duration": "PT4H"}),
        box.read(5, "measurementListData"),
        box.datagram("notify", feature([1], 6, CHARGER), {"deviceDiagnosisHeartbeatData": {"heartbeatCounter": 1}}),
        box.relation("subscription", 3, "DeviceDiagnosis"),
        box.discovery(1),
    ]
    return [b"\n".join(lines), *lines]


TARGETS = {"ship": (ship, ship_seeds), "spine": (spine, spine_seeds)}
