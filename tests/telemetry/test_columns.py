"""The compact form of a delivery: the same records as in JSON, octet for octet, and bounded."""

import contextlib
import hashlib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csms.telemetry.rules import read_delivery
from tests.telemetry.columns import TAGGED
from v2g.energy.settlement.checkpoints import Copy
from v2g.errors import CodecError
from v2g.telemetry.batch import Batcher
from v2g.telemetry.columns import NAMES, decode_compact, encode_compact, is_compact
from v2g.telemetry.delivery import MAX_BATCH, DeliveryNotice, encode_delivery, encode_notice
from v2g.telemetry.local_events import LocalEvent
from v2g.telemetry.signals import CellSamples, Record, encode_record

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


@pytest.mark.parametrize(
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
    assert len(encode_compact([named, *records])) == len(encode_compact(records)) + 9
    assert decode_compact(encode_compact([named, *records])) == [named, *records]


def test_too_many_octets_are_refused() -> None:
    with pytest.raises(CodecError, match="256000"):
        decode_compact(b"\x9c" * 256_001)


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
