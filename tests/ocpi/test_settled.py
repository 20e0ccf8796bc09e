"""Charge detail records, judged by the fields of OCPI 2.2.1 and by a reader that only knows their periods."""

import base64
import json
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import jsonschema
import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.energy.settlement.conftest import Session
from tests.energy.settlement.conftest import finished as finished
from tests.energy.settlement.conftest import start_ms as start_ms
from tests.ocpi.schema import SCHEMA
from tests.ocpi.sessions import DAY_MS, FACTS, SIGNED, T0, journal
from v2g.asn1.discharge import PriceSlot
from v2g.energy.grid_signal import Tariff
from v2g.energy.settlement import ocmf
from v2g.energy.settlement.bundle import verify_bundle
from v2g.energy.settlement.canonical import canonical
from v2g.energy.settlement.journal import Entry, Journal, verify_lines
from v2g.energy.settlement.records import (
    LineCorrected,
    SessionRepriced,
)
from v2g.energy.settlement.settle import Settlement, settle
from v2g.energy.settlement.taxes import VatRate
from v2g.errors import CodecError
from v2g.ocpi.settled import Facts, charge_detail_record, correction_records, encode, signed_data_of
from v2g.units import QUARTER_MS


def record_of(entries: list[Entry], facts: Facts = FACTS) -> tuple[Settlement, dict[str, Any]]:
    settlement = settle(entries)
    made = charge_detail_record(entries, settlement, SIGNED, facts=facts, created_ms=T0)
    data = json.loads(encode(made), parse_float=Decimal)
    jsonschema.validate(json.loads(encode(made)), SCHEMA)
    return settlement, data


def volumes(record: dict[str, Any], kind: str) -> list[Decimal]:
    dimensions = [each for period in record["charging_periods"] for each in period["dimensions"]]
    return [Decimal(each["volume"]) for each in dimensions if each["type"] == kind]


@pytest.mark.requirement("R33")
@pytest.mark.parametrize(
    ("currency", "price", "step"),
    [("JPY", 31_000_000, "1"), ("BHD", 123_456, "0.001"), ("EUR", -50_000, "0.01"), ("CLF", 50_050, "0.0001")],
)
def test_currencies_of_0_to_4_decimals_and_negative_prices_are_charged(currency: str, price: int, step: str) -> None:
    entries = journal([(10, 900_000, 0)], currencies=(currency,))
    data = b"".join(canonical(each) + b"\n" for each in entries)
    change = LineCorrected(line=f"{T0}/import", price=price, reason="x", by="alice")
    corrected = list(verify_lines(data + Journal.resume(data).append(change, entries[-1].utc_ms)))
    _, record = record_of(corrected)
    assert (record["currency"], record["tariffs"][0]["currency"]) == (currency, currency)
    wanted = (Decimal(900_000) * price / 10**12).quantize(Decimal(step), ROUND_HALF_UP)
    assert decimal(record["total_cost"]["excl_vat"]) == wanted
    assert decimal(record["tariffs"][0]["elements"][0]["price_components"][0]["price"]) == Decimal(price) / 10**6


@pytest.mark.requirement("R33")
def test_a_price_has_the_rate_of_vat_that_applies_to_it() -> None:
    """The rate changes at midnight of the place, between two readings at one price; what is fed back has none."""
    midnight = datetime.fromtimestamp(T0 / 1000, UTC).replace(hour=0, minute=0) + timedelta(days=1)
    minutes = (midnight.timestamp() * 1000 - T0) / 60_000
    entries = journal([(minutes, 900_000, 0), (10, 900_000, 0), (2, 0, 500_000)], wear=50_000, slot_ms=2 * DAY_MS)
    rates = VatRate(percent="16"), VatRate(percent="19", from_day=midnight.date())
    _, record = record_of(entries, replace(FACTS, vat=rates))
    parts = {each["id"]: each["elements"][0]["price_components"][0] for each in record["tariffs"]}
    assert {name: (decimal(each["price"]), each.get("vat")) for name, each in parts.items()} == {
        "energy-0.230000": (Decimal("0.23"), None),
        "energy-0.300000-vat-16": (Decimal("0.3"), 16),
        "energy-0.300000-vat-19": (Decimal("0.3"), 19),
    }
    used = [each["tariff_id"] for each in record["charging_periods"] if "tariff_id" in each]
    assert used == ["energy-0.300000-vat-16", "energy-0.300000-vat-19", "energy-0.230000"]
    assert volumes(record, "ENERGY") == [Decimal("0.9"), Decimal("0.9"), Decimal("-0.5")]
    _, untaxed = record_of(entries)
    assert [each["id"] for each in untaxed["tariffs"]] == ["energy-0.230000", "energy-0.300000"]


@pytest.mark.requirement("R33")
@pytest.mark.parametrize("feed_in", [False, True])
def test_costs_are_with_vat_too_where_rates_are_known(feed_in: bool) -> None:
    """0.9 kWh at 0.30, less 0.5 kWh at 0.18; 19 % of 0.27 is 0.05, of 0.18 it is 0.03."""
    entries = journal([(10, 900_000, 0), (2, 0, 500_000)])
    facts = replace(FACTS, vat=(VatRate(percent="19", feed_in=feed_in),), vat_zone="Europe/Berlin")
    _, record = record_of(entries, facts)
    wanted = {"excl_vat": Decimal("0.18"), "incl_vat": Decimal("0.21" if feed_in else "0.23")}
    for name in ("total_cost", "total_energy_cost"):
        assert {key: decimal(amount) for key, amount in record[name].items()} == wanted
    data = b"".join(canonical(each) + b"\n" for each in entries)
    change = LineCorrected(line=f"{T0}/import", price=1, reason="x", by="alice")
    corrected = list(verify_lines(data + Journal.resume(data).append(change, entries[-1].utc_ms)))
    credit, _ = correction_records(corrected, SIGNED, facts=facts)
    assert (credit.total_cost.before_taxes, credit.total_cost.total) == tuple(-each for each in wanted.values())
    assert [each.name for each in credit.total_cost.taxes or ()] == ["VAT"]
    with pytest.raises(CodecError, match="vat_zone"):
        record_of(entries, replace(facts, vat_zone="Europe/Nowhere"))


def decimal(text: object) -> Decimal:
    return Decimal(str(text))


@pytest.mark.requirement("R33")
@pytest.mark.parametrize("wear", [None, 20_000])
def test_a_corrected_session_has_a_credit_cdr_and_a_new_one(wear: int | None) -> None:
    entries = journal([(10, 900_000, 0), (20, 0, 500_000), (5, 0, 0)], wear=wear)
    data = b"".join(canonical(each) + b"\n" for each in entries)
    slots = (PriceSlot(T0, QUARTER_MS, 200_000, -50_000), PriceSlot(T0 + QUARTER_MS, 10 * QUARTER_MS, 1, 90_000))
    other = Tariff(currency="EUR", slots=slots, version=9)
    change = SessionRepriced(tariff=other, reason="dispute 7", by="alice")
    corrected = list(verify_lines(data + Journal.resume(data).append(change, T0 + 10 * QUARTER_MS)))
    made = correction_records(corrected, SIGNED, facts=FACTS)
    records = json.loads(encode(made))
    for each, found in zip(records, made, strict=True):
        jsonschema.validate(each, SCHEMA)
        assert found.last_updated.timestamp() * 1000 == corrected[-1].utc_ms
    credit, new = records
    _, old = record_of(entries)
    assert (credit["id"], credit["credit"], credit["credit_reference_id"]) == (f"{old['id']}-C", True, old["id"])
    assert decimal(credit["total_cost"]["excl_vat"]) == -decimal(old["total_cost"]["excl_vat"])
    kept = set(old) - {"id", "total_cost", "last_updated", "tariffs"}  # of its data only that is of the other sign
    assert {name: json.loads(json.dumps(old[name], default=float)) for name in kept} == {n: credit[n] for n in kept}
    assert new["id"] not in (credit["id"], old["id"])
    assert "credit" not in new
    prices = {each["id"]: decimal(each["elements"][0]["price_components"][0]["price"]) for each in new["tariffs"]}
    cost = sum(
        decimal(dimension["volume"]) * prices[period["tariff_id"]]
        for period in new["charging_periods"]
        for dimension in period["dimensions"]
        if dimension["type"] == "ENERGY"
    )
    assert abs(cost - decimal(new["total_cost"]["excl_vat"])) < Decimal("0.0052")
    again = Journal.resume(data)
    lines = [
        again.append(change, T0),
        again.append(msgspec.structs.replace(change, tariff=replace(other, version=8)), T0),
    ]
    twice = list(verify_lines(data + b"".join(lines)))
    since = correction_records(twice, SIGNED, facts=FACTS, credited=twice[-2].hash[:36])
    assert since[0].credit_reference_id == twice[-2].hash[:36]


def test_wear_is_earned_only_while_it_had_a_price() -> None:
    """Energy that flowed back for 20 minutes after the last price is priced later, but never earns wear."""
    entries = journal([(120, 0, 1_200_000)], wear=20_000, slot_ms=60_000)
    data = b"".join(canonical(each) + b"\n" for each in entries)
    later = Tariff(currency="EUR", slots=(PriceSlot(T0, DAY_MS, 300_000, 100_000),), version=9)
    change = SessionRepriced(tariff=later, reason="no price after 100 minutes", by="alice")
    _, record = record_of(list(verify_lines(data + Journal.resume(data).append(change, T0 + DAY_MS))))
    assert [each["tariff_id"] for each in record["charging_periods"]] == ["energy-0.120000", "energy-0.100000"]
    assert volumes(record, "TIME") == [Decimal("1.6667"), Decimal("0.3333")]


def test_wear_may_cost_nothing() -> None:
    _, record = record_of(journal([(2, 0, 500_000)], wear=0))
    assert [each["id"] for each in record["tariffs"]] == ["energy-0.180000"]


def test_without_a_correction_or_an_earlier_record_nothing_is_credited() -> None:
    entries = journal([(10, 900_000, 0)])
    with pytest.raises(CodecError, match="no correction"):
        correction_records(entries, SIGNED, facts=FACTS)
    data = b"".join(canonical(each) + b"\n" for each in entries)
    change = LineCorrected(line=f"{T0}/import", price=0, reason="x", by="alice")
    corrected = verify_lines(data + Journal.resume(data).append(change, T0))
    with pytest.raises(CodecError, match="no record 77") as unknown:
        correction_records(corrected, SIGNED, facts=FACTS, credited="77")
    assert corrected[-2].hash[:36] in unknown.value.hint


def test_a_verified_session_becomes_a_record_with_the_meters_signatures(finished: Session) -> None:
    files = finished.bundle()
    settlement = verify_bundle(files).settlement
    key = finished.meter.key.public_key
    taken, back = (files[f"ocmf_{each}.txt"].decode().split("\n")[0] for each in ("import", "export"))
    shown = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    made = charge_detail_record(
        verify_lines(files["journal.jsonl"]),
        settlement,
        signed_data_of({"import": taken, "export": back}, shown),
        facts=replace(FACTS, token=None),
        created_ms=finished.now,
    )
    record = json.loads(encode(made))
    jsonschema.validate(record, SCHEMA)
    assert (record["country_code"], record["party_id"]) == ("DE", "V2G")
    assert record["cdr_token"] == {
        "country_code": "DE",
        "party_id": "V2G",
        "uid": "DEV2GC00000001",
        "type": "OTHER",
        "contract_id": "DEV2GC00000001",
    }
    assert record["total_cost"]["excl_vat"] == pytest.approx(settlement.totals[0].balance / 1e6, abs=0.005)
    assert [volume > 0 for volume in volumes(record, "ENERGY")] == [True, True, False, False]
    assert record["signed_data"]["encoding_method"] == "OCMF"
    theirs = load_der_public_key(base64.b64decode(record["signed_data"]["public_key"]))
    for direction, value in zip(("import", "export"), record["signed_data"]["signed_values"], strict=True):
        text = base64.b64decode(value["signed_data"]).decode()
        assert ocmf.verify(text, theirs).direction == direction  # type: ignore[arg-type]
        assert value["plain_data"] == text.split("|")[1][:512]


steps = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 9_000_000), st.integers(0, 9_000_000)), max_size=12)


@pytest.mark.long
@given(readings=steps, wear=st.none() | st.integers(0, 90_000))
def test_periods_and_prices_add_up_to_energy_time_and_cost(
    readings: list[tuple[int, int, int]], wear: int | None
) -> None:
    settlement, record = record_of(journal([(m, i, e) if m else (0, 0, 0) for m, i, e in readings], wear=wear))
    begin, end = settlement.begin, settlement.end
    energy = end.import_mwh - begin.import_mwh - end.export_mwh + begin.export_mwh
    assert sum(volumes(record, "ENERGY")) == Decimal(record["total_energy"])
    assert abs(Decimal(record["total_energy"]) - Decimal(energy).scaleb(-6)) <= Decimal("0.00005")
    hours = sum(volumes(record, "TIME")) + sum(volumes(record, "PARKING_TIME"))
    assert abs(hours - Decimal(record["total_time"])) <= Decimal("0.0001")
    assert sum(volumes(record, "PARKING_TIME")) == Decimal(record["total_parking_time"])
    prices = {
        each["id"]: Decimal(each["elements"][0]["price_components"][0]["price"]) for each in record.get("tariffs", ())
    }
    cost = Decimal(0)
    for period in record["charging_periods"]:
        if "tariff_id" in period:
            cost += Decimal(period["dimensions"][0]["volume"]) * prices[period["tariff_id"]]
    periods = len(record["charging_periods"])
    assert abs(cost - Decimal(record["total_cost"]["excl_vat"])) <= Decimal("0.005") + Decimal("0.0001") * periods
    starts = [period["start_date_time"] for period in record["charging_periods"]]
    assert starts == sorted(starts)


def test_energy_of_both_directions_between_two_readings_is_not_netted() -> None:
    _, record = record_of(journal([(10, 600_000, 200_000)]))
    assert volumes(record, "ENERGY") == [Decimal("0.6"), Decimal("-0.2")]
    assert volumes(record, "TIME") == [Decimal("0.125"), Decimal("0.0417")]


def test_a_short_pause_of_the_register_is_no_parking_and_a_long_one_is() -> None:
    steps: list[tuple[float, int, int]] = [(0.5, 1_000, 0), (0.5, 0, 0)] * 5 + [(0.5, 1_000, 0)]
    _, steady = record_of(journal(steps))
    assert len(steady["charging_periods"]) == 1
    assert Decimal(steady["total_parking_time"]) == 0
    entries = journal([(10, 100_000, 0), (12, 0, 0), (3, 50_000, 0)])
    _, record = record_of(entries)
    assert Decimal(record["total_parking_time"]) == Decimal("0.2")
    for minutes, periods in ((59.999 / 60, 1), (1.0, 3)):
        _, record = record_of(journal([(10, 100_000, 0), (minutes, 0, 0), (3, 50_000, 0)]))
        assert len(record["charging_periods"]) == periods


def test_a_short_pause_belongs_to_what_was_before_it() -> None:
    _, record = record_of(journal([(5, 100_000, 0), (4, 0, 50_000), (0.5, 0, 0), (4, 0, 50_000)]))
    assert volumes(record, "ENERGY") == [Decimal("0.1"), Decimal("-0.1")]


def test_a_session_without_any_time_has_a_period() -> None:
    _, record = record_of(journal([]))
    (period,) = record["charging_periods"]
    assert volumes(record, "PARKING_TIME") == [Decimal(0)]
    assert "tariff_id" not in period


def test_one_price_with_and_without_vat_is_two_tariffs() -> None:
    """What is taken costs 0.30 with VAT; what is fed back earns 0.18 and 0.12 for wear, without."""
    entries = journal([(10, 900_000, 0), (2, 0, 500_000)], wear=120_000)
    _, record = record_of(entries, replace(FACTS, vat=(VatRate(percent="19"),)))
    assert [each["id"] for each in record["tariffs"]] == ["energy-0.300000", "energy-0.300000-vat-19"]
    parts = [each["elements"][0]["price_components"][0] for each in record["tariffs"]]
    assert [(each["type"], each["step_size"], each.get("vat")) for each in parts] == [
        ("ENERGY", 1, None),
        ("ENERGY", 1, 19),
    ]


def test_a_session_of_200_hours_lasts_200_hours() -> None:
    _, record = record_of(journal([(12_000, 900_000, 0)], slot_ms=30 * DAY_MS))
    assert decimal(record["total_time"]) == 200


def test_the_token_of_a_contract_is_its_emaid_without_separators() -> None:
    entries = journal([(1, 1, 0)])
    settlement = replace(settle(entries), emaid="DE-V2G-C00000001-X")
    made = charge_detail_record(entries, settlement, SIGNED, facts=replace(FACTS, token=None), created_ms=T0)
    token = made.cdr_token
    assert (token.country_code, token.party_id, token.uid) == ("DE", "V2G", "DEV2GC00000001X")
    assert (token.type, token.contract_id) == ("OTHER", "DE-V2G-C00000001-X")


def test_the_operators_name_of_an_evse_is_kept() -> None:
    for uid, wanted in ((None, "DE*V2G*E1"), ("evse-7", "evse-7")):
        facts = replace(FACTS, location=replace(FACTS.location, evse_uid=uid))
        place = record_of(journal([(1, 1, 0)]), facts)[1]["cdr_location"]
        assert (place["evse_uid"], place["evse_id"]) == (wanted, "DE*V2G*E1")


def test_what_a_record_cannot_say_is_refused() -> None:
    for entries, facts, why in (
        (journal([(1, 1, 0)], end=False), FACTS, "not over"),
        (journal([(15, 9, 0), (15, 9, 0)], currencies=("EUR", "SEK")), FACTS, "two currencies"),
        (journal([(1, 1, 0)], evse_id="E"), FACTS, "names no operator"),
        (journal([(1, 1, 0)], evse_id="DE*V2G*1"), FACTS, "names no operator"),
        (journal([(1, 1, 0)], evse_id="E"), replace(FACTS, country_code="NL"), "names no operator"),
        (journal([(1, 1, 0)], evse_id="E"), replace(FACTS, party_id="ABC"), "names no operator"),
        (journal([(1, 1, 0)]), replace(FACTS, token=None), "no contract"),
        (journal([(1, 1, 0)], evse_id="DE*V2G*E" + "1" * 60), FACTS, "does not fit"),
    ):
        with pytest.raises(CodecError, match=why):
            record_of(entries, facts)
    named = replace(FACTS, country_code="NL", party_id="ABC")
    assert record_of(journal([(1, 1, 0)], evse_id="E"), named)[1]["party_id"] == "ABC"


def test_energy_without_a_price_has_no_tariff() -> None:
    _, record = record_of(journal([(1, 9_000, 0)], currencies=()))
    assert (record["currency"], Decimal(record["total_cost"]["excl_vat"])) == ("XXX", 0)
    assert "tariffs" not in record
    assert "tariff_id" not in record["charging_periods"][0]
