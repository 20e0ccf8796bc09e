"""What a charging station is and knows: configuration, open transactions, profiles and device model values.

Kept in memory and in the store together; nothing here waits for anybody.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from secc.station_link import LinkSettings, Settings
from secc.station_store import StationStore
from v2g.net.clock import Clock
from v2g.net.websocket import TlsFiles
from v2g.ocpp.answers import EvseView, Registration, View
from v2g.ocpp.messages.availability import ConnectorStatus
from v2g.ocpp.messages.provisioning import BootNotificationRequest, BootReason, ChargingStation
from v2g.ocpp.profiles import Allowance, Installed, OpenTransaction
from v2g.ocpp.routes import Version
from v2g.ocpp.station import BackOff
from v2g.ocpp.times import format_time
from v2g.ocpp.transactions import MeterSample, Step, TransactionRecord, public_key_text

CONNECTOR: Final = 1
"""Every EVSE has one connector."""

_BOOT_ID, _RUNNING = "station.boot_id", "station.running"


class StationConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a station appears to its CSMS.

    `url` is the OCPP-J endpoint without the identity. With security profile 3 `identity` is the common name of the
    certificate in `tls`, and the serial number in the boot notification; without `tls` only `ws:` can be used.
    """

    url: str
    identity: Annotated[str, Meta(pattern=r"^[A-Za-z0-9*_=+|@.-]{1,25}$")]
    store: Path
    tls: TlsFiles | None = None
    versions: tuple[Version, ...] = ("2.1", "2.0.1")
    vendor: Annotated[str, Meta(max_length=50)] = "v2g-engine"
    model: Annotated[str, Meta(max_length=20)] = "DC_BPT"
    firmware: Annotated[str, Meta(max_length=50)] = "0.1.0"
    evses: Annotated[int, Meta(ge=1, le=64)] = 1
    max_power_w: Annotated[int, Meta(ge=0, le=10_000_000)] = 150_000
    message_timeout: Annotated[float, Meta(gt=0)] = 30.0
    authorize_timeout: Annotated[float, Meta(gt=0)] = 10.0
    accept_offline: bool = False
    """Whether a contract that was validated here may charge while the CSMS cannot be reached (C15)."""
    retry_minimum: Annotated[float, Meta(gt=0)] = 1.0
    """First wait (s) before reconnecting, until the CSMS sets RetryBackOffWaitMinimum."""
    retry_random_range: Annotated[float, Meta(ge=0)] = 2.0


class Hooks(msgspec.Struct, frozen=True, kw_only=True):
    """What the CSMS can want of the charger. Called in the event loop; a hook that is None is not supported.

    `on_limit(evse_id, allowance, version)` whenever what charging profiles allow has changed; `version` counts up.
    `on_grid_signal(json)` with a checked GridSignal. `on_stop(reference, reason)` with `remote` or `deauthorized`.
    `meter(evse_id)` returns what the meter shows now.
    """

    on_limit: Callable[[int, Allowance, int], None] | None = None
    on_grid_signal: Callable[[bytes], None] | None = None
    on_stop: Callable[[str, str], None] | None = None
    on_start: Callable[[int, int, str, str], None] | None = None
    on_availability: Callable[[int, bool], None] | None = None
    on_reset: Callable[[int | None, bool], None] | None = None
    on_unlock: Callable[[int], None] | None = None
    on_cost: Callable[[str, float], None] | None = None
    meter: Callable[[int], MeterSample | None] | None = None


class StationState:
    """The station's memory. `boot_id` names the machine's current start."""

    def __init__(self, config: StationConfig, *, clock: Clock, boot_id: str, meter_public_key: bytes) -> None:
        self.config: Final = config
        self.store: Final = StationStore(config.store)
        self._clock = clock
        self._meter_public_key = meter_public_key
        self._facts = self.store.facts()
        self.records = {record.reference: record for record in self.store.transactions()}
        self.profiles = self.store.profiles()
        self.status: dict[int, ConnectorStatus] = dict.fromkeys(range(1, config.evses + 1), "Available")
        self.same_boot = bool(boot_id) and self._facts.get(_BOOT_ID) == boot_id
        """Whether only this program was restarted, not the machine."""
        self._boot_reason: BootReason = "PowerUp"
        if self.same_boot:
            self._boot_reason = "ApplicationReset" if self._facts.get(_RUNNING) == "yes" else "LocalReset"
        self.keep(_BOOT_ID, boot_id)
        self.keep(_RUNNING, "yes")

    def close(self) -> None:
        """Note an orderly end and close the store."""
        self.keep(_RUNNING, "no")
        self.store.close()

    def keep(self, key: str, value: str) -> None:
        """Keep a device model value, or a note of our own."""
        if self._facts.get(key) != value:
            self.store.keep_fact(key, value)
            self._facts[key] = value

    def keep_profiles(self, profiles: tuple[Installed, ...]) -> None:
        """Replace all charging profiles. Raises StoreError; they hold all the same, until the process ends."""
        self.profiles = profiles
        self.store.keep_profiles(profiles)

    def commit(self, step: Step) -> None:
        """Keep a transaction's new state and queue its event."""
        record, request = step
        self.store.record_event(record, request)
        if request.event_type == "Ended":
            del self.records[record.reference]
        else:
            self.records[record.reference] = record

    def record_on(self, evse_id: int) -> TransactionRecord | None:
        """Return the open transaction of an EVSE."""
        return next((record for record in self.records.values() if record.evse_id == evse_id), None)

    def find(self, transaction_id: str) -> TransactionRecord | None:
        """Return an open transaction by its OCPP id."""
        return next((record for record in self.records.values() if record.transaction_id == transaction_id), None)

    def operative(self, evse_id: int) -> bool:
        """Return whether an EVSE is in service; that survives restarts (B01.FR.07)."""
        return self._facts.get(f"station.operative.{evse_id}") != "no"

    def set_operative(self, evse_id: int, operative: bool) -> None:
        """Take an EVSE in or out of service."""
        self.keep(f"station.operative.{evse_id}", "yes" if operative else "no")

    def shown(self, evse_id: int) -> ConnectorStatus:
        """Return the connector state that the CSMS is told: out of service only once no transaction runs (G03)."""
        out_of_service = not self.operative(evse_id) and self.record_on(evse_id) is None
        return "Unavailable" if out_of_service and self.status[evse_id] != "Faulted" else self.status[evse_id]

    def boot(self) -> BootNotificationRequest:
        """Return the boot notification (B01)."""
        return BootNotificationRequest(
            reason=self._boot_reason,
            charging_station=ChargingStation(
                serial_number=self.config.identity,
                model=self.config.model,
                vendor_name=self.config.vendor,
                firmware_version=self.config.firmware,
            ),
        )

    def link_settings(self) -> LinkSettings:
        """Return how the CSMS is reached."""
        return LinkSettings(
            url=self.config.url,
            identity=self.config.identity,
            versions=self.config.versions,
            message_timeout=self.config.message_timeout,
        )

    def settings(self) -> Settings:
        """Return the values that the connection obeys: the CSMS's where it has set them."""

        number = self._number
        return Settings(
            heartbeat=number("HeartbeatInterval", 300),
            offline_threshold=number("OfflineThreshold", 60),
            attempts=int(number("MessageAttempts[TransactionEvent]", 5)),
            attempt_interval=number("MessageAttemptInterval[TransactionEvent]", 10),
            back_off=BackOff(
                minimum=number("RetryBackOffWaitMinimum", self.config.retry_minimum),
                random_range=number("RetryBackOffRandomRange", self.config.retry_random_range),
                repeats=int(number("RetryBackOffRepeatTimes", 5)),
            ),
        )

    def sample_interval(self) -> float:
        """Return the s between periodic meter samples of a transaction, 0 for none (J02)."""
        return float(self._facts.get("SampledDataCtrlr.TxUpdatedInterval", 60))

    def stops_on_invalid_id(self) -> bool:
        """Return whether a transaction ends when the CSMS no longer accepts its identifier (E05)."""
        return self._facts.get("TxCtrlr.StopTxOnInvalidId", "true") == "true"

    def open_transactions(self) -> tuple[OpenTransaction, ...]:
        """Return the open transactions as profiles see them."""
        return tuple(OpenTransaction(r.transaction_id, r.evse_id, r.started_ms) for r in self.records.values())

    def view(self, version: Version, registration: Registration, hooks: Hooks) -> View:
        """Return what answers to the CSMS depend on."""
        return View(
            version=version,
            registration=registration,
            utc_ms=self._clock.utc_ms(),
            evses=tuple(EvseView(evse_id, self.shown(evse_id), self.operative(evse_id)) for evse_id in self.status),
            max_power_w=self.config.max_power_w,
            transactions=self.open_transactions(),
            profiles=self.profiles,
            values=self._values(),
            queued=self.store.queued(),
            can_reset=hooks.on_reset is not None,
            can_start=hooks.on_start is not None,
            can_unlock=hooks.on_unlock is not None,
        )

    def _number(self, name: str, default: float) -> float:
        return float(self._facts.get(f"OCPPCommCtrlr.{name}", default))

    def _values(self) -> Mapping[str, str]:
        states = [self.shown(evse_id) for evse_id in self.status]
        values = {
            "SecurityCtrlr.Identity": self.config.identity,
            "SecurityCtrlr.SecurityProfile": "3" if self.config.tls else "1",
            "ChargingStation.Model": self.config.model,
            "ChargingStation.VendorName": self.config.vendor,
            "ChargingStation.AvailabilityState": "Available" if "Available" in states else states[0],
            "ClockCtrlr.DateTime": format_time(self._clock.utc_ms()),
            "SmartChargingCtrlr.Entries[ChargingProfiles]": str(len(self.profiles)),
            "FiscalMetering.PublicKey": public_key_text(self._meter_public_key),
            "OCPPCommCtrlr.MessageTimeout[Default]": f"{self.config.message_timeout:.0f}",
        }
        for evse_id, state in zip(self.status, states, strict=True):
            values[f"EVSE#{evse_id}.AvailabilityState"] = state
            values[f"Connector#{evse_id}.{CONNECTOR}.AvailabilityState"] = state
            record = self.record_on(evse_id)
            power = record.last_sample.power_w if record and record.last_sample else None
            values[f"EVSE#{evse_id}.Power"] = str(power or 0)
        return {**values, **{key: value for key, value in self._facts.items() if not key.startswith("station.")}}
