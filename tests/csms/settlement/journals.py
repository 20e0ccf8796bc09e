"""What several tests of journals use."""

import json
from typing import Any, Literal

from msgspec import UNSET, UnsetType

from csms.db.store import open_store
from tests.csms.settlement.witness import FINGERPRINT, witness
from tests.csms.support import STATION, Running
from v2g.asn1.discharge import PriceSlot
from v2g.energy.grid_signal import Tariff
from v2g.energy.settlement.records import ContractAuthorized, MeterReading, SessionStarted, TariffSet
from v2g.energy.settlement.session_journal import SessionJournal

SESSION = "0102030405060708"
T0 = 1_900_000_800_000  # on a quarter hour


def started(
    station: str = STATION, session: str = SESSION, nth: int = 0, bundle: Literal[2, 3] | UnsetType = UNSET
) -> SessionStarted:
    """Return the first record of the `nth` journal of an EVSE."""
    return SessionStarted(
        station_id=station,
        evse_id="DE*V2G*E1",
        session_id=session,
        meter_serial="M",
        meter_certificate="00",
        charger_certificate="00",
        import_mwh=1_000 + nth * 2_000_000,
        export_mwh=nth * 1_000_000,
        bundle=bundle,
    )


def journal(
    session: str = SESSION,
    station: str = STATION,
    price: int = 300_000,
    priced_ms: int = 7_200_000,
    currency: str = "EUR",
    nth: int = 0,
    emaid: str = "DEV2GC00000001",
    compensation: int = 200_000,
    bundle: Literal[2, 3] | UnsetType = UNSET,
) -> list[bytes]:
    """Return the lines of a whole session: 2 kWh in, 1 kWh out, over two quarters of an hour.

    The `nth` one begins an hour after the one before.
    """
    ledger, begin_ms = SessionJournal(), T0 + nth * 3_600_000
    slot = PriceSlot(start_ms=begin_ms, duration_ms=priced_ms, import_price=price, export_compensation=compensation)
    begin, end = (started(station, session, each, bundle) for each in (nth, nth + 1))
    lines = ledger.record(begin, begin_ms)
    lines += ledger.record(
        ContractAuthorized(emaid=emaid, contract_certificate=FINGERPRINT, authorized_by="csms"), begin_ms
    )
    tariff = Tariff(currency=currency, slots=(slot,), version=1, source="dso")
    lines += ledger.record(TariffSet(tariff=tariff), begin_ms)
    for export_mwh, at_ms in ((begin.export_mwh, 900_000), (end.export_mwh, 1_500_000)):
        lines += ledger.record(MeterReading(import_mwh=end.import_mwh, export_mwh=export_mwh), begin_ms + at_ms)
    return lines + ledger.end("vehicle", begin_ms + 1_600_000, import_mwh=end.import_mwh, export_mwh=end.export_mwh)


def delivery(lines: list[bytes], session: str = SESSION, station: str = STATION) -> dict[str, Any]:
    """Return what DataTransfer carries."""
    return {"stationId": station, "sessionId": session, "lines": [line.decode().removesuffix("\n") for line in lines]}


async def transfer(websocket: Any, data: Any) -> Any:
    """Send JournalEntries; return the answer."""
    payload = {"vendorId": "org.v2g-engine", "messageId": "JournalEntries", "data": data}
    await websocket.send(json.dumps([2, "j", "DataTransfer", payload]))
    while (frame := json.loads(await websocket.recv()))[0] == 2:  # the grid signal may come in between
        pass
    return frame[2]


def seen(csms: Running, lines: list[bytes], session: str = SESSION) -> None:
    """Let a back end have seen what a journal states."""
    store = open_store(csms.config.store_url, csms.config.data_dir)
    try:
        store.do(witness, lines, STATION, session)
    finally:
        store.close()


async def booted(websocket: Any) -> None:
    """Boot."""
    about = {"model": "M", "vendorName": "V"}
    await websocket.send(json.dumps([2, "b", "BootNotification", {"reason": "PowerUp", "chargingStation": about}]))
    await websocket.recv()
