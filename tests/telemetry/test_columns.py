"""The compact form of a delivery: the same records as in JSON, octet for octet, and bounded."""

import contextlib
import hashlib
import random
import tracemalloc
import zlib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csms.telemetry.rules import read_delivery
from tests.telemetry.columns import TAGGED
from tests.together import together
from v2g.energy.settlement.checkpoints import Copy
from v2g.errors import CodecError
from v2g.telemetry.batch import Batcher
from v2g.telemetry.columns import NAMES, decode_compact, encode_compact, is_compact
from v2g.telemetry.delivery import MAX_BATCH, MAX_DELIVERY_BYTES, DeliveryNotice, encode_delivery, encode_notice
from v2g.telemetry.local_events import LocalEvent
from v2g.telemetry.signals import CONTEXTS, SIGNALS, CellSamples, Record, encode_record

pytestmark = pytest.mark.requirement("R95")


COPY = Copy(session_id="00" * 8, number=1, checkpoint=b"c", receipt=b"r")
OTHERS = st.sampled_from(
    [
        encode_notice(DeliveryNotice("EV-1", 1, ((1, 2),))),
        encode_notice(DeliveryNotice("EV-1", 1, boot_id="00112233445566ff")),
        encode_record(Record("EV-1", 1, 5, 5, "parked", keyframe=False, signals={"battery.soc": 50.0})),
        encode_record(
            Record("EV-1", 1, 6, 5, "parked", keyframe=False, signals={}, schema="v2g-telemetry/2", checkpoint=COPY)
        ),
        Batcher("EV-1", 1).event and encode_record(Batcher("EV-1", 1).checkpoint(COPY, 5)),
        encode_record(Batcher("EV-1", 1).cells(CellSamples(5, ((0, (37_001, None)), (100, (36_999, 1)))), 5)),
        encode_record(
            Record(
                "EV-1",
                1,
                6,
                5,
                "parked",
                keyframe=False,
                signals={"battery.soc": 50.0},
                schema="v2g-telemetry/3",
                trip="1-0",
                ambient_c=None,
                charging_w=None,
            )
        ),
        encode_record(Batcher("EV-1", 1).event(LocalEvent("evcc", "session.ended", 1, {"soc": 50.5}), 5)),
        b'{"ev":"EV-1","boot":1,"seq":7,"schema":"v2g-telemetry/9"}',
        b'{ "ev":"EV-1" , "boot":1,"seq":8}',
        b"not JSON",
    ]
)


@pytest.mark.long
@settings(max_examples=25)
@given(st.lists(TAGGED | OTHERS, max_size=30))
def test_what_comes_out_is_what_went_in(elements: list[bytes]) -> None:
    delivery = encode_compact(elements)
    assert is_compact(delivery)
    assert decode_compact(delivery) == elements


@pytest.mark.long
@settings(max_examples=25)
@given(st.lists(TAGGED | OTHERS.filter(lambda each: each != b"not JSON"), max_size=20))
def test_the_back_end_reads_the_same_from_both_forms(elements: list[bytes]) -> None:
    assert not is_compact(encode_delivery(elements))
    assert read_delivery(encode_compact(elements)) == read_delivery(encode_delivery(elements))


@given(st.binary(max_size=300))
def test_arbitrary_octets_are_one_documented_error(data: bytes) -> None:
    with pytest.raises(CodecError):
        decode_compact(b"\x9c" + data)


@pytest.mark.long
@given(st.lists(TAGGED, min_size=1, max_size=5), st.data())
def test_a_damaged_delivery_is_elements_or_one_documented_error(elements: list[bytes], data: st.DataObject) -> None:
    body = bytearray(encode_compact(elements))
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(CodecError):
        assert len(decode_compact(bytes(body))) <= MAX_BATCH
        read_delivery(bytes(body))


def columns(**changes: object) -> bytes:
    """Encode a delivery of two empty records, with changes."""
    fields = {
        "form": 1, "ev": "EV-1", "boot": 1, "seqs": (1, 1), "times": (1, 1), "contexts": ((2, "parked"),),
        "trips": ((2, "1-0"),), "ambient": ((2, None),), "power": ((2, None),), "keyframes": (), "signals": {},
        "others": (),
    }  # fmt: skip
    return msgspec.msgpack.encode(tuple((fields | changes).values()))


@together(
    "changes",
    [
        {"form": 5},
        {"boot_id": b"short"},
        {"times": (1,)},
        {"contexts": ((1, "parked"),)},
        {"trips": ((1000, "1-0"), (1000, "1-0"))},
        {"keyframes": (2,)},
        {"keyframes": (0, 1)},
        {"signals": {3: ((0, 0), (5000,))}},
        {"signals": {3: ((2,), (5000,))}},
        {"signals": {22: ((0,), (5000,))}},
        {"form": 3, "signals": {49: ((0,), (1,))}},
        {"form": 4, "signals": {54: ((0,), (1,))}},
        {"seqs": (1,) * 1001, "times": (1,) * 1001},
        {"others": ((0, b"x"),) * 999},
        {"others": ((1000, b"x"),)},
        {"others": ((0, b"x" * 65537),)},
    ],
)
def test_what_does_not_fit_together_is_refused(changes: dict[str, object]) -> None:
    assert len(decode_compact(columns())) == 2
    with pytest.raises(CodecError):
        decode_compact(columns(**changes))


def test_the_id_of_the_boot_takes_ten_octets_before_its_records() -> None:
    """The form of earlier gateways, without it, is read, too."""
    named = encode_notice(DeliveryNotice("EV-1", 1, boot_id="00112233445566ff"))
    records = decode_compact(columns(form=4))
    assert decode_compact(columns(form=2, boot_id=bytes.fromhex("00112233445566ff"))) == [
        named,
        *decode_compact(columns()),
    ]
    assert decode_compact(columns(form=4, boot_id=bytes.fromhex("00112233445566ff"))) == [named, *records]
    assert len(encode_compact([named, *records])) <= len(encode_compact(records)) + 11
    assert decode_compact(encode_compact([named, *records])) == [named, *records]


def test_too_many_octets_are_refused() -> None:
    with pytest.raises(CodecError, match="256000"):
        decode_compact(b"\x9c" * 256_001)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(TAGGED | OTHERS, max_size=6), max_size=6), st.randoms())
def test_a_delivery_is_read_by_itself_whatever_was_lost_repeated_or_overtaken(
    deliveries: list[list[bytes]], dice: random.Random
) -> None:
    """So neither a restart of either side nor another node of the back end changes anything."""
    sent = [(encode_compact(each), each) for each in deliveries]
    arrived = dice.choices(sent, k=2 * len(sent)) if sent else []
    for delivery, elements in arrived:
        assert decode_compact(delivery) == elements


def changes(count: int) -> list[bytes]:
    """Return records with four changed signals each, as while charging."""
    return [
        encode_record(
            Record(
                "EV-1", 1, seq, 1_900_000_000_000 + 100 * seq, "charging", keyframe=False,
                signals={"battery.current": -25.0 - seq % 7 / 8, "battery.power": -10_000 - seq * 31 % 97,
                         "battery.soc": 50 + seq / 100, "charging.power": -9_900 - seq * 17 % 89},
                schema="v2g-telemetry/5", trip="1-1", ambient_c=18.5, charging_w=-9_900.0,
            )
        )
        for seq in range(1, count + 1)
    ]  # fmt: skip


def test_a_packed_delivery_is_short_and_an_older_back_end_refuses_it_whole() -> None:
    packed = encode_compact(changes(10))
    assert packed[:2] == b"\xc1\x01"
    assert len(packed) <= 120
    assert len(encode_compact(changes(1))) <= 75
    for reader in (msgspec.json.decode, msgspec.msgpack.decode):
        with pytest.raises(msgspec.DecodeError):
            reader(packed)


def test_what_does_not_end_or_unpacks_to_too_much_is_refused_without_unpacking_it() -> None:
    packed = encode_compact(changes(10))
    for wrong in (packed[:-1], packed[:2], packed + b"x", packed + packed, b"\xc1\x02" + packed[2:], b"\xc1"):
        with pytest.raises(CodecError):
            decode_compact(wrong)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = b"\xc1\x01" + packer.compress(bytes(200_000_000)) + packer.flush()
    assert len(bomb) < MAX_DELIVERY_BYTES
    tracemalloc.start()
    with pytest.raises(CodecError, match="256000"):
        decode_compact(bomb)
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()
    random_text = [random.Random(1).randbytes(60_000).hex().encode() for _ in range(5)]
    assert len(encode_compact(random_text)) > MAX_DELIVERY_BYTES, "never packed to what would be too much"


def test_the_dictionary_never_changes() -> None:
    """It is on the wire: these octets use each signal and context."""
    elements = [
        encode_record(
            Record(
                "ev-0001", 1_900_000_000, n + 1, 1_900_000_000_000 + n, context, keyframe=n == 0,
                signals={} if n else {name: int(max(0, SIGNALS[name].minimum)) if SIGNALS[name].resolution == 1 else
                                      float(max(0, SIGNALS[name].minimum)) for name in sorted(NAMES[:54])},
                schema="v2g-telemetry/5", trip="1900000000-1", ambient_c=18.5, charging_w=0.0,
            )
        )
        for n, context in enumerate(CONTEXTS)
    ]  # fmt: skip
    assert decode_compact(bytes.fromhex(PACKED)) == elements


PACKED = """
c1015dd2b16dc2501440d19bc27d16499106d18551d230000d7300121d5bd051b14068e89925f6494408eebe2cfff7e473c78f96ebb7f1cd
fb65f5716cff323dfbe992d3e7759ed37d87df15fe367898f37f97ed6e789a3a4c538771eaadd9ab7f0339ca618e73a0231dea58073bdae1
8e77c0231ef298073dea618f7be0231ffad8073ffae18f7f02480149200d248254900cd24142480949a19f16c4901a92c3d761a188249126
1245aa4816e92261a48ca4d1e6fc0d
"""


def test_the_places_of_signals_never_change() -> None:
    """They are on the wire."""
    digests = [hashlib.sha256(" ".join(NAMES[:count]).encode()).hexdigest()[:16] for count in (22, 49, 54)]
    assert digests == ["25406d38ee0b60d2", "3573a5ef993aeba4", "ecd054531f9e3d8a"]
    assert len(NAMES) == 54
    for form, schema in (
        (1, "v2g-telemetry/3"),
        (2, "v2g-telemetry/3"),
        (3, "v2g-telemetry/4"),
        (4, "v2g-telemetry/5"),
    ):
        assert decode_compact(columns(form=form, signals={3: ((1,), (5000,))}))[1] == encode_record(
            Record(
                "EV-1", 1, 2, 2, "parked", keyframe=False, signals={"battery.soc": 50.0}, schema=schema,
                trip="1-0", ambient_c=None, charging_w=None,
            )
        )  # fmt: skip
    assert b'"battery.pressure":101.3' in decode_compact(columns(form=3, signals={24: ((1,), (1013,))}))[1]
