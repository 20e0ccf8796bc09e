"""OCPP-J: the cost of reading and writing a TransactionEvent, validated, on each side of the connection."""

from collections.abc import Callable, Iterator

from ocpp import messages as theirs

from benchmarks.figures import Figure, median, microseconds
from v2g.ocpp import rpc
from v2g.ocpp.messages.base import Message
from v2g.ocpp.routes import Version
from v2g_station.blocks import transaction_records as transactions
from v2g_station.blocks.transaction_records import MeterSample, SignedRegister, TransactionRecord

ABOUT = "read and write a TransactionEvent, validated"

PEER = "ocpp 2.1 (JSON schema)"
VERSION: Version = "2.0.1"
UTC_MS = 1_780_000_000_000


def event() -> Message:
    """Return the last event of a transaction: both registers, signed, power and state of charge."""
    data = "OCMF|" + "x" * 900
    sample = MeterSample(
        utc_ms=UTC_MS,
        import_mwh=16_653_000,
        export_mwh=3_802_000,
        power_w=-9_994,
        soc=75,
        signed=(SignedRegister(register="import", data=data), SignedRegister(register="export", data=data)),
    )
    record = TransactionRecord(
        transaction_id="1bcead42-6f11-f0b6",
        reference="1bcead426f11f0b6",
        evse_id=1,
        connector_id=1,
        started_ms=UTC_MS - 3_600_000,
        id_token="DEV2GC00000001",
        id_token_type="eMAID",
    )
    _, request = transactions.end(
        record, UTC_MS, trigger="EVDeparted", reason="EVDisconnected", sample=sample, offline=False
    )
    return request


def measure(*, quick: bool) -> Iterator[Figure]:
    """Yield reading and writing."""
    calls = 20 if quick else 1000
    request = event()
    text = _frame(request)
    call = theirs.unpack(text)

    def read() -> None:
        peer = rpc.RpcPeer(VERSION, handles=("TransactionEvent",), entropy=bytes)
        peer.receive(text, 0.0)
        (done,) = peer.actions()
        assert isinstance(done, rpc.Called)

    def write() -> None:
        _frame(request)

    def read_theirs() -> None:
        theirs._validate_payload(theirs.unpack(text), VERSION)

    def write_theirs() -> None:
        theirs._validate_payload(call, VERSION)
        call.to_json()

    works: tuple[tuple[str, Callable[[], None], Callable[[], None]], ...] = (
        ("read and validate", read, read_theirs),
        ("validate and write", write, write_theirs),
    )
    for name, ours, other in works:
        yield Figure(
            f"{name} a TransactionEvent of {len(text)} octets",
            median(microseconds(ours, calls=calls)),
            "µs",
            peer=PEER,
            peer_value=median(microseconds(other, calls=calls)),
            note="p50; ours from and to typed messages, the peer's from and to dictionaries",
        )


def _frame(request: Message) -> str:
    peer = rpc.RpcPeer(VERSION, handles=(), entropy=bytes)
    peer.call(request, 0.0)
    (send,) = peer.actions()
    assert isinstance(send, rpc.Send)
    return send.text
