"""`v2g demo --world`: a day of three sites and 40 vehicles in minutes, with what goes wrong on a bad one."""

import asyncio
import secrets
import signal
import ssl
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import msgspec

from v2g.asn1.discharge import PriceSlot
from v2g.energy.grid_signal import ConnectionPoint, GridLimit, Tariff
from v2g.energy.settlement.records import ContractAuthorized, MeterReading, SessionStarted, TariffSet
from v2g.energy.settlement.session_journal import SessionJournal
from v2g.io.websocket.client import connect
from v2g.ocpp.messages.data_transfer import VENDOR
from v2g.text import numbered
from v2g.units import HOUR_MS, QUARTER_MS
from v2g_cli.demo.console import ConsoleDemo
from v2g_cli.demo.folder import RunFolder
from v2g_cli.demo.processes import Program

SPEED: Final = 200.0
"""Simulated seconds per second: a day takes seven minutes."""

SITES: Final = {"Lindenhof": (6, 48.172, 11.532), "Hafenpark": (6, 48.104, 11.601), "Marktgarage": (4, 48.137, 11.575)}
"""Stations of each site, and where it is."""

VEHICLES: Final = 40
LIAR: Final = "Werkstatt-1"
"""A station whose meters report many times what flows."""

FORGER: Final = "Werkstatt-2"
"""A station that delivers the journal of a session that it has never reported."""

_OUTAGE_S: Final = (80.0, 140.0)
"""When Hafenpark loses its connection, and has it again, real seconds after the beginning."""

_CAMPAIGN_S: Final = 2.0
"""When an update begins: as long as stations are free, real seconds after the beginning."""
_BEGINS_MS: Final = 5 * HOUR_MS
"""Time of day (UTC) at which its day begins, before vehicles leave for work."""

_HOURS: Final = 72
"""For which vehicles drive, and prices are known."""

_DRIVERS: Final = """arrivals_per_hour = 1.0
phases = 3
bidirectional = 0.7
vehicle_kw = [11.0, 22.0]
battery_kwh = [40.0, 80.0]
stay_hours = [2.0, 8.0]
tokens = 40
offline_per_day = 0.0
faults_per_day = 0.0
"""


class World(ConsoleDemo):
    """Three sites whose vehicles charge and feed back, and whatever a day may bring."""

    stations = tuple(name for site, (count, *_) in SITES.items() for name in numbered(f"{site}-", count))
    heartbeat_s = 5
    tables = f"""
[settlement]
wait_s = 600

[alerts.rules]  # a machine's time, not the world's
queue_ages = {{ limit = {round(900 * SPEED)}, clear = {round(300 * SPEED)} }}
station_offline = {{ limit = {round(30 * SPEED)} }}
"""

    def __init__(self, folder: RunFolder, say: Callable[[str], None]) -> None:
        super().__init__(folder, say, SPEED)
        folder.origin_utc_ms += (_BEGINS_MS - folder.utc_ms()) % (24 * HOUR_MS)
        self._still_to_do: list[tuple[float, Callable[[], None]]] = [
            (_CAMPAIGN_S, self._update),
            (_OUTAGE_S[0], partial(self._hold, signal.SIGSTOP)),
            (_OUTAGE_S[1], partial(self._hold, signal.SIGCONT)),
        ]
        self._hafenpark: Program | None = None

    def _begin(self) -> None:
        for site, (count, latitude, longitude) in SITES.items():
            places = [
                {"station_id": name, "evse_id": evse_id, "node": "main", "most_ma": 32_000}
                for name in numbered(f"{site}-", count) for evse_id in (1, 2)
            ]  # fmt: skip
            self._operator.put_site({
                "id": site, "nodes": [{"id": "main", "limits": [160_000] * 3}], "places": places,
                "latitude": latitude, "longitude": longitude, "waiting_ma": 6_000,
            })  # fmt: skip
            started = self._start_stations(f"{site}-", count, _DRIVERS)
            if site == "Hafenpark":
                self._hafenpark = started
        self._limit()
        self._start_stations(LIAR.removesuffix("1"), 1, f"{_DRIVERS}overstates = 40.0\n")
        command = [sys.executable, "-m", "v2g_cli", "telemetry", "simulate", "--count", str(VEHICLES), "--weak", "90"]
        command += ["--url", f"https://localhost:{self._ports['api']}", "--ca", str(self._root), "--hours", str(_HOURS)]
        command += ["--speed", str(SPEED), *self._since()]
        self._start("vehicles", command, V2G_CSMS_TOKEN=self._folder.token)
        asyncio.run(self._lie())

    @property
    def _root(self) -> Any:
        return self._folder.pki.path("csms/root.pem")

    def _limit(self) -> None:
        """Announce less power for Lindenhof, from three hours on."""
        now_ms, at = self._folder.utc_ms(), ConnectionPoint(site="Lindenhof")
        begins_ms = now_ms // HOUR_MS * HOUR_MS + 3 * HOUR_MS
        less = GridLimit(
            connection_point=at, direction="import", limit_w=60_000, from_ms=begins_ms,
            until_ms=begins_ms + 2 * HOUR_MS, source="Reduction 14a",
        )  # fmt: skip
        always = GridLimit(connection_point=at, direction="import", limit_w=110_000, source="Grid contract")
        day = self._folder.signal(1_000, 400_000)
        slots = tuple(
            msgspec.structs.replace(slot, start_ms=slot.start_ms + hours * HOUR_MS)
            for hours in range(0, _HOURS, 24) for slot in day.slots
        )  # fmt: skip
        self._operator.put_signal(
            msgspec.structs.replace(
                day,
                slots=slots,
                valid_until_ms=slots[-1].start_ms + QUARTER_MS,
                site_import_limit_w=600_000,
                limits=(less, always),
            ).to_json()
        )

    def _act(self, since_s: float) -> None:
        while self._still_to_do and since_s >= self._still_to_do[0][0]:
            self._still_to_do.pop(0)[1]()

    def _hold(self, how: signal.Signals) -> None:
        """Stop Hafenpark's stations as a lost connection does, or let them go on."""
        if self._hafenpark is not None and self._hafenpark.process is not None:
            self._hafenpark.process.send_signal(how)

    def _update(self) -> None:
        """Begin to update Marktgarage with firmware that nobody has signed: stations refuse it, so it halts."""
        plan = {
            "image": {"location": "https://files.example/4.2.1.bin"}, "window": None, "daily": 1.0,
            "cohorts": [0.5, 1.0], "retries": 0, "max_failure_rate": 0.4, "min_settled": 1,
        }  # fmt: skip
        names = numbered("Marktgarage-", SITES["Marktgarage"][0])
        self._operator.begin_campaign({"name": "4.2.1", "plan": plan, "station_ids": list(names)})

    async def _lie(self) -> None:
        """Deliver the journal of a session that no station has reported: it goes into quarantine."""
        password, context = secrets.token_hex(16), ssl.create_default_context(cafile=self._root)
        self._operator.admit({FORGER: password})
        url = f"wss://localhost:{self._ports['ocpp']}/ocpp"
        socket = await connect(url, FORGER, context=context, password=password)

        async def ask(number: int, action: str, payload: object) -> None:
            await socket.send(msgspec.json.encode([2, str(number), action, payload]).decode())
            while msgspec.json.decode(await socket.receive())[:2] != [3, str(number)]:
                pass

        session = secrets.token_hex(8)
        lines = [line.decode().removesuffix("\n") for line in forged(session, self._folder.utc_ms())]
        data = {"stationId": FORGER, "sessionId": session, "lines": lines}
        about = {"reason": "PowerUp", "chargingStation": {"model": "Simulated", "vendorName": "V2G"}}
        await ask(1, "BootNotification", about)
        await ask(2, "DataTransfer", {"vendorId": VENDOR, "messageId": "JournalEntries", "data": data})
        await socket.close()
        self._operator.reject(FORGER)


def forged(session: str, now_ms: int) -> list[bytes]:
    """Return the journal of a session that never was: 18 kWh in and 9 kWh out within an hour."""
    begin_ms, ledger = now_ms // QUARTER_MS * QUARTER_MS - HOUR_MS, SessionJournal()
    meter = SessionStarted(
        station_id=FORGER, evse_id="DE*V2G*E9", session_id=session, meter_serial="M", meter_certificate="00",
        charger_certificate="00", import_mwh=0, export_mwh=0,
    )  # fmt: skip
    slot = PriceSlot(start_ms=begin_ms, duration_ms=HOUR_MS, import_price=280_000, export_compensation=420_000)
    contract = ContractAuthorized(emaid="DEV2GC00000001", contract_certificate="00" * 32, authorized_by="csms")
    lines = ledger.record(meter, begin_ms) + ledger.record(contract, begin_ms)
    lines += ledger.record(TariffSet(tariff=Tariff(currency="EUR", slots=(slot,), version=1, source="dso")), begin_ms)
    for minutes, share in ((15, 1), (30, 2), (45, 3)):
        reading = MeterReading(import_mwh=share * 6_000_000, export_mwh=share * 3_000_000)
        lines += ledger.record(reading, begin_ms + minutes * 60_000)
    return lines + ledger.end("vehicle", begin_ms + 2_760_000, import_mwh=18_000_000, export_mwh=9_000_000)
