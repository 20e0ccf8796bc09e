"""Functional block J, meter values, beyond the cases of the test lab."""

import base64
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec

from csms.transactions import store as transactions
from tests.csms.backend import Backend
from tests.csms.charging import TOKENS, Charging
from tests.csms.fixtures import Start
from tests.csms.scripted_station import Payload
from tests.energy.meter_records.signed_records import OCMF
from tests.meter_keys import printed_public_key
from v2g.energy.settlement.ocmf import Assignment, MeterIdentity, Reading, sign_session, signed_meter_data
from v2g.pki.keys import SoftwareKey

METER = ec.derive_private_key(0x1234, ec.SECP256R1())


@pytest_asyncio.fixture
async def csms(backend: Start) -> AsyncIterator[Backend]:
    """A back end that knows a driver."""
    async with backend(tokens=TOKENS) as running:
        yield running


@pytest_asyncio.fixture
async def charging(csms: Backend) -> Charging:
    """A transaction that has not begun."""
    return Charging(csms, await csms.booted())


async def ends_with(charging: Charging, context: str, signed: Payload | None = None) -> Payload:
    """Let a transaction end with values of its whole course."""
    await charging.started()
    values = []
    for step in (context, context, "Transaction.End"):
        charging.wh += 1000
        values.append(charging.reading(step, signed if step == "Transaction.End" else None))
    await charging.connector("Available")
    extra = {"meterValue": values}
    await charging.event("Ended", "EVCommunicationLost", state="Idle", stopped="EVDisconnected", extra=extra)
    stored = await charging.stored()
    assert [value["context"] for value in stored["meter_values"]][-3:] == [context, context, "Transaction.End"]
    assert stored["import_wh"] == str(charging.wh)
    last: Payload = stored["meter_values"][-1]
    return last


def signed(begin_wh: int, end_wh: int, *, with_key: bool, page: int = 1) -> Payload:
    """What a meter signs of a transaction, OCMF."""
    text = sign_session(
        "import",
        begin=Reading(1_700_000_000_000, begin_wh * 1000),
        end=Reading(1_700_000_600_000, end_wh * 1000),
        identity=MeterIdentity(meter_serial="M1"),
        assignment=Assignment(emaid=None, evse_id="1"),
        pagination=page,
        key=SoftwareKey(METER),
    )
    return {
        "signedMeterData": signed_meter_data(text),
        "signingMethod": "",
        "encodingMethod": "OCMF",
        "publicKey": printed_public_key(METER.public_key()) if with_key else "",
    }


async def test_values_of_a_known_meter_are_verified(csms: Backend, charging: Charging) -> None:
    key = printed_public_key(METER.public_key())
    await csms.services.store.run(transactions.save_meter_key, charging.station.id, 0, key, 0)
    last = await ends_with(charging, "Sample.Clock", signed(1000, 4000, with_key=True))
    assert last["verdict"] == "valid"


async def test_values_of_an_unknown_meter_are_marked(charging: Charging) -> None:
    last = await ends_with(charging, "Sample.Periodic", signed(1000, 4000, with_key=True))
    assert last["verdict"] == "unknown_key"  # the key that comes along is nobody's word but its own
    assert last["signed"]["encodingMethod"] == "OCMF"


@pytest.mark.parametrize(("wh", "harm", "verdict"), [(3999, False, "mismatch"), (4000, True, "invalid")])
async def test_signed_values_that_are_not_what_they_claim_are_marked(
    csms: Backend, charging: Charging, wh: int, harm: bool, verdict: str
) -> None:
    key = ec.derive_private_key(0x4321, ec.SECP256R1()).public_key() if harm else METER.public_key()
    keep = transactions.save_meter_key
    await csms.services.store.run(keep, charging.station.id, 1, printed_public_key(key), 0)
    last = await ends_with(charging, "Sample.Periodic", signed(1000, wh, with_key=False))
    assert last["verdict"] == verdict


async def test_signed_values_are_judged_with_those_of_earlier_events(csms: Backend, charging: Charging) -> None:
    """A page that goes back within a transaction, in one event or in two, is marked."""
    key = printed_public_key(METER.public_key())
    await csms.services.store.run(transactions.save_meter_key, charging.station.id, 0, key, 0)
    await charging.started()
    verdicts = []
    for page in (7, 8, 6):
        charging.wh += 1000
        reading = charging.reading("Sample.Periodic", signed(0, charging.wh, with_key=False, page=page))
        await charging.event("Updated", "MeterValuePeriodic", extra={"meterValue": [reading]})
        verdicts.append((await charging.stored())["meter_values"][-1]["verdict"])
    assert verdicts == ["valid", "valid", "reordered"]


@pytest.mark.requirement("R196")
async def test_a_record_of_another_make_is_verified_with_the_key_as_its_maker_prints_it(
    csms: Backend, charging: Charging
) -> None:
    row = next(each for each in OCMF if each["file"] == "test.xml")  # secp192r1, Wh, 1-b:1.8.e
    await csms.services.store.run(transactions.save_meter_key, charging.station.id, 0, row["public_key_as_given"], 0)
    charging.wh = 2_850_951 - 3000
    data = base64.b64encode(row["record"].encode()).decode()
    foreign = {"signedMeterData": data, "signingMethod": "", "encodingMethod": "OCMF", "publicKey": ""}
    last = await ends_with(charging, "Sample.Periodic", foreign)
    assert last["verdict"] == "valid"
