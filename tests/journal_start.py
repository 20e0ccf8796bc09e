"""The first entry of a journal in tests."""

from typing import Final

from v2g.energy.settlement.records import SessionStarted

START: Final = SessionStarted(
    station_id="CS",
    evse_id="DE*V2G*E1",
    session_id="00" * 8,
    meter_serial="M",
    meter_certificate="ab" * 32,
    charger_certificate="cd" * 32,
    import_mwh=0,
    export_mwh=0,
)
