"""What must hold for any Ethernet frame at the powerline: a message or FrameError, and cores that go on."""

from tests.slac.benches import EV, EVSE, Bench, EvBench, EvseBench
from v2g.errors import FrameError
from v2g.slac import mme, vendor
from v2g.slac.ev import EvState
from v2g.slac.evse import EvseSlacState
from v2g.slac.inspection import describe
from v2g.slac.modem import AttenuationConfig, SimulatedModem

_STATES = (*EvState, *EvseSlacState)
_CORES = 8  # one in so many inputs goes through a core; reaching its state costs more than all the rest


def frame(data: bytes) -> None:
    """The first octet chooses who receives it, the rest is a frame."""
    if not data:
        return
    choice, octets = data[0], data[1:]
    _read(octets)
    modem = SimulatedModem(host_mac=EVSE, mac=b"\x06" + EVSE[1:], measures=AttenuationConfig())
    for delivery in modem.from_line(octets) + modem.from_host(octets) + modem.from_line(octets):
        assert delivery.frame == octets or mme.decode(delivery.frame)
    if choice % _CORES == 0:
        _hear(_STATES[choice // _CORES % len(_STATES)], octets)


def _read(octets: bytes) -> None:
    """What is understood is written the same; and everything can be shown, keys never."""
    shown = str(describe(octets))
    try:
        received = mme.decode(octets)
    except FrameError:
        return
    again = mme.encode(received)
    assert mme.decode(again) == received
    key = getattr(received.message, "nmk", b"")
    assert len(set(key)) < 3 or key.hex() not in shown


def _hear(state: EvState | EvseSlacState, octets: bytes) -> None:
    bench: Bench = EvBench().reach(state) if isinstance(state, EvState) else EvseBench().reach(state)
    bench.core.receive(octets, bench.now)
    bench.take()
    deadline = bench.core.deadline()
    assert deadline is None or deadline >= bench.now
    bench.wait(1.0)


def frame_seeds() -> list[bytes]:
    """Return one real frame of each kind that is declared, as `frame` takes them."""
    found = []
    for at, codec in enumerate(mme.CODECS.values()):
        message, header = codec.message, bytes(12) + b"\x88\xe1"
        octets = header + bytes((message.MMV,)) + message.MMTYPE.to_bytes(2, "little") + b"\0\0" * bool(message.MMV)
        body = bytearray(message.OUI + bytes(codec.size))
        if message in (mme.CmAttenProfileInd, mme.CmAttenCharInd):
            body[6 if message is mme.CmAttenProfileInd else 51] = mme.GROUPS
        found.append(bytes((at,)) + octets + bytes(body))
    for at, real in enumerate(
        (
            mme.CmSlacParmCnf(forwarding_sta=EV, run_id=b"RUN-0001"),
            mme.CmSlacMatchReq(pev_mac=EV, evse_mac=EVSE, run_id=b"RUN-0001"),
            mme.CmNwStatsCnf(num_stas=1, stations=(mme.NwStation(mac=EV, tx=9, rx=9),)),
            vendor.VsPlLinkStatusCnf(link_status=1),
        )
    ):
        found.append(bytes((8 * at,)) + mme.encode(mme.MmeFrame(EVSE, EV, real)))
        found.append(bytes((8 * at,)) + mme.encode(mme.MmeFrame(EV, EVSE, real)))
    return found
