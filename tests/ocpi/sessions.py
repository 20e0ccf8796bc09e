"""Journals that tests settle, and the facts of an operator."""

from v2g.asn1.discharge import PriceSlot
from v2g.energy.grid_signal import Tariff
from v2g.energy.settlement.journal import Entry, verify_lines
from v2g.energy.settlement.records import MeterReading, SessionStarted, TariffSet, WearPriced
from v2g.energy.settlement.session_journal import SessionJournal
from v2g.ocpi.objects import CdrToken, OcpiPlace
from v2g.ocpi.settled import Facts, SettledPlace, signed_data_of
from v2g.units import QUARTER_MS

T0 = 2_000_000 * QUARTER_MS
DAY_MS = 86_400_000
FACTS = Facts(
    location=SettledPlace(
        id="DEPOT-1",
        address="Ladestraße 1",
        city="Berlin",
        country="DEU",
        coordinates=OcpiPlace(latitude="52.520008", longitude="13.404954"),
        connector_id="1",
        connector_standard="IEC_62196_T2_COMBO",
        connector_format="CABLE",
        connector_power_type="DC",
    ),
    auth_method="WHITELIST",
    token=CdrToken(country_code="DE", party_id="V2G", uid="04A1B2", type="RFID", contract_id="DE-V2G-C1"),
)
SIGNED = signed_data_of({"import": 'OCMF|{"a":1}|{}', "export": 'OCMF|{"a":2}|{}'}, b"key")


def journal(
    readings: list[tuple[float, int, int]],
    *,
    evse_id: str = "DE*V2G*E1",
    wear: int | None = None,
    currencies: tuple[str, ...] = ("EUR",),
    slot_ms: int = QUARTER_MS,
    end: bool = True,
) -> list[Entry]:
    """Return a journal of readings: minutes since the one before, and what both registers counted since."""
    ledger = SessionJournal()
    lines = ledger.record(
        SessionStarted(
            station_id="CS",
            evse_id=evse_id,
            session_id="00",
            meter_serial="M",
            meter_certificate="ab",
            charger_certificate="cd",
            import_mwh=7,
            export_mwh=5,
            discharge="standard",
        ),
        T0,
    )
    if wear is not None:
        lines += ledger.record(WearPriced(price=wear), T0)
    now, taken, fed_back = T0, 7, 5
    for number, (minutes, more, less) in enumerate(readings):
        if number < len(currencies):
            slots = tuple(PriceSlot(T0 + n * slot_ms, slot_ms, 300_000 + n, 180_000 - n) for n in range(100))
            tariff = Tariff(currency=currencies[number], slots=slots, version=number + 1, source="dso")
            lines += ledger.record(TariffSet(tariff=tariff), now)
        now, taken, fed_back = now + round(minutes * 60_000), taken + more, fed_back + less
        lines += ledger.record(MeterReading(import_mwh=taken, export_mwh=fed_back), now)
    if end:
        lines += ledger.end("vehicle", now, import_mwh=taken, export_mwh=fed_back)
    return list(verify_lines(b"".join(lines)))
