"""A simulated meter that signs: what it signs is verified by its public key, and says what it is in its transaction."""

import base64
import json
from typing import get_args

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key
from msgspec.structs import replace

from tests.secc.backend import backend
from tests.station.simulator.fleets import EAGER, run
from tests.together import together
from v2g.energy.settlement.ocmf import signed_readings
from v2g.ocpp.messages.metering import ReadingContext
from v2g_station.blocks.transaction_records import MeterSample
from v2g_station.simulator.fleet import SigningMeter

MARKS = {"Transaction.Begin": "B", "Transaction.End": "E"}


@together("context", get_args(ReadingContext))
def test_each_reading_is_signed(context: ReadingContext) -> None:
    meter = SigningMeter("SIM1-1", 1)
    for register in (1_000, 2_000):
        (found,) = meter.signed(MeterSample(utc_ms=1_700_000_000_000, import_mwh=register, export_mwh=0), context)
        key = load_der_public_key(found.public_key)
        assert isinstance(key, ec.EllipticCurvePublicKey)
        (reading,) = signed_readings(found.data, key)
        assert (found.register, reading.reading.register_mwh) == ("import", register)
        assert reading.transaction == MARKS.get(context, "C")


async def test_begin_and_end_of_a_session_are_marked_as_such() -> None:
    async with backend() as csms:
        await run(csms, 1, count=1, behaviour=replace(EAGER, signed_readings=True))
    marks: dict[str, set[str]] = {}
    for event in csms.all("TransactionEvent"):
        for sample in (each for value in event.get("meter_value") or () for each in value["sampled_value"]):
            if signed := sample.get("signed_meter_value"):
                text = base64.b64decode(signed["signed_meter_data"]).decode()
                (reading,) = json.loads(text.split("|")[1])["RD"]
                marks.setdefault(sample.get("context", "Sample.Periodic"), set()).add(reading["TX"])
    assert marks.keys() >= MARKS.keys()
    assert all(found == {MARKS.get(context, "C")} for context, found in marks.items())
