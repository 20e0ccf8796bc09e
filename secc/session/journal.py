"""The journal of a session and its transaction: whether they are open, their first entries, and their end."""

import hashlib
from collections.abc import Mapping
from decimal import Decimal
from typing import Final, Literal

from msgspec import UNSET
from msgspec.structs import replace

from secc.session import ports
from secc.session.config import SeccConfig
from secc.session.identity import Identity
from secc.session.ports import Journal, MeterRead
from secc.session.request_context import RequestContext
from secc.session.stages import Authorized, Charging, JournalOpening, Stopping
from v2g.energy.grid_signal import Tariff
from v2g.energy.settlement.authorization import CHALLENGE_BYTES
from v2g.energy.settlement.records import (
    AnyRecord,
    AuthorizationSigned,
    ContractAuthorized,
    Discharge,
    MeteringConfirmed,
    ServiceChanged,
    SessionStarted,
    TariffSet,
    VehicleDescribed,
    VoltmeterCalibrated,
    WearPriced,
)
from v2g.iso15118.engine.session import Command
from v2g.observe import Observe, Scalar
from v2g.units import MICRO

STOPPED_REASONS: Final[Mapping[str, str]] = {
    "vehicle": "StoppedByEV",  # SessionStopReq (E15.FR.04)
    "vehicle_not_ready": "StoppedByEV",  # state B: its cable is still in
    "unplugged": "EVDisconnected",
    "pilot_lost": "EVDisconnected",
    "plug_not_seated": "EVDisconnected",  # the proximity contact of a plug that is pulled opens first
    "pre_charge_timeout": "Timeout",
    "welding_detection_timeout": "Timeout",
    "connection_lost": "EVDisconnected",
    "link_lost": "EVDisconnected",
    "sequence_timeout": "Timeout",
    "ongoing_timeout": "Timeout",
    "communication_setup_timeout": "Timeout",
    "no_energy": "Timeout",
    "remote": "Remote",
    "local": "Local",
    "master_pass": "MasterPass",
    "deauthorized": "DeAuthorized",
    "reset": "ImmediateReset",
    "cost_limit": "LocalOutOfCredit",  # 2.1 has no newer one: its trigger says CostLimitReached (E16.FR.06)
    "energy_limit": "EnergyLimitReached",
    "time_limit": "TimeLimitReached",
    "soc_limit": "SOCLimitReached",
    "emergency_stop": "EmergencyStop",
    "isolation_low": "GroundFault",
    "over_current": "OvercurrentFault",
    "energy_transfer_rejected": "ReqEnergyTransferRejected",
}
"""Reason of the end of a session -> OCPP's ReasonEnum; all others are Other."""


class JournalStatus:
    """Whether journal and transaction are open, derived from the session's commands."""

    def __init__(self) -> None:
        self.open = False
        """Whether the journal of this session has begun."""
        self.settled = False
        """Whether the session has ended, or is paused, as far as the journal is concerned."""
        self.capacity_wh: int | None = None
        """The battery's capacity as far as the journal has it."""
        self._transaction = False

    def watch(self, command: object) -> None:
        """Note what a command opens, because it must be closed again."""
        match command:
            case ports.TransactionStarted():
                self._transaction = True
            case ports.Journal(record=SessionStarted()):
                self.open = True
            case ports.Journal(record=VehicleDescribed(battery_capacity_wh=capacity_wh)):
                self.capacity_wh = capacity_wh
            case ports.JoinSession():
                self.open = self._transaction = True

    def close(self, session_id: bytes, reason: str, soc: int | None) -> tuple[Command, ...]:
        """Return the commands that close the journal and the transaction; `soc` is the state of charge, if known."""
        commands: list[Command] = []
        if self.open:
            commands.append(ports.CloseJournal(reason))
        if self._transaction:
            stopped = STOPPED_REASONS.get(reason, "Other")
            commands.append(ports.TransactionEnded(session_id.hex(), reason, stopped, soc))
        return tuple(commands)


def journal_opening(context: RequestContext, session_id: bytes) -> JournalOpening:
    """Return the first entry of a session that a contract may pay, before its vehicle signs."""
    started = _started(context, session_id, "none", context.connection.entropy(CHALLENGE_BYTES))
    return JournalOpening(started, context.utc_ms)


def open_journal(
    context: RequestContext,
    authorized: Authorized,
    service: str,
    discharge: Discharge,
    *,
    wear: Decimal | None = None,
    capacity_wh: int | None = None,
) -> tuple[Journal, ...]:
    """Return the first entries of a session: parties, place, calibration and terms. No energy has flowed yet.

    `wear` is its price, currency units per kWh fed back. `capacity_wh` is the battery's, if it is known by now.
    """
    identity, opening, contract = context.connection.identity, authorized.opening, authorized.contract
    if opening is None:
        begun = [Journal(_started(context, authorized.opened.session_id, discharge))]
    else:
        begun = [Journal(opening.started, opening.utc_ms)]
    records: list[AnyRecord] = []
    if identity.voltmeter_offset_mv:
        records.append(VoltmeterCalibrated(offset_mv=identity.voltmeter_offset_mv))
    if contract is not None:
        fingerprint = hashlib.sha256(contract.chain[0]).hexdigest()
        records.append(ContractAuthorized(emaid=contract.emaid, contract_certificate=fingerprint, authorized_by="csms"))
    if opening is not None:
        records.append(AuthorizationSigned(payload=opening.request))
        if discharge != opening.started.discharge:
            records.append(ServiceChanged(service=service, discharge=discharge, reason="selected"))
    records.append(VehicleDescribed(evcc_id=authorized.opened.evcc_id, battery_capacity_wh=capacity_wh))
    if context.facts.tariff is not None:
        records.append(TariffSet(tariff=context.facts.tariff))
    if wear is not None:
        records.append(WearPriced(price=round(wear * MICRO)))
    return (*begun, *map(Journal, records))


def resume_journal(service: str, discharge: Discharge, tariff: Tariff | None) -> tuple[Journal, ...]:
    """Return the entries with which a paused session goes on; its prices may have changed meanwhile."""
    resumed = change_services(service, discharge, "resumed")
    return (resumed,) if tariff is None else (resumed, Journal(TariffSet(tariff=tariff)))


def change_services(service: str, discharge: Discharge, reason: Literal["renegotiated", "resumed"]) -> Journal:
    """Return the entry for changed services in an open journal."""
    return Journal(ServiceChanged(service=service, discharge=discharge, reason=reason))


def discharge_rule(config: SeccConfig, *, bidirectional: bool, signed: bool) -> Discharge:
    """Return the condition for discharging."""
    if not bidirectional or (config.signed_discharge.required and not signed):
        return "none"
    return "signed" if signed else "standard"


def _started(context: RequestContext, session_id: bytes, discharge: Discharge, entropy: bytes = b"") -> SessionStarted:
    connection = context.connection
    return session_started(
        context.config,
        connection.identity,
        connection.trust.chain[0],
        session_id=session_id,
        meter=context.facts.meter,
        registers=context.facts.meter_begin,
        discharge=discharge,
        entropy=entropy,
    )


def session_started(
    config: SeccConfig,
    identity: Identity,
    charger_certificate: bytes,
    *,
    session_id: bytes,
    meter: MeterRead | None,
    registers: tuple[int, int],
    discharge: Discharge,
    entropy: bytes = b"",
) -> SessionStarted:
    """Return the first entry of a journal. `registers` are those of import and export, mWh, at its beginning, of which
    the entry has what the `meter` shows."""
    rolled = (0, 0) if meter is None else meter.rolled
    return SessionStarted(
        station_id=identity.station_id,
        evse_id=config.evse_id,
        session_id=session_id.hex(),
        meter_serial=identity.meter_serial,
        meter_certificate=hashlib.sha256(identity.meter_certificate).hexdigest(),
        charger_certificate=hashlib.sha256(charger_certificate).hexdigest(),
        import_mwh=registers[0] - rolled[0],
        export_mwh=registers[1] - rolled[1],
        discharge=discharge,
        reaction_ms=config.reaction_ms,
        rollover_mwh=UNSET if meter is None or meter.rollover_mwh is None else meter.rollover_mwh,
        bundle=3,
        entropy=entropy.hex() or UNSET,
    )


REMEMBERED_READINGS: Final = 8
"""Number of readings, and of receipts, that a vehicle may still confirm; loops continue while it signs."""


def remember(stage: Charging, reading: object) -> Charging:
    """Return the stage with a reading (MeterInfo) that is being sent."""
    return replace(stage, sent_readings=_latest(stage.sent_readings, reading))


def remember_receipt(stage: Charging, receipt: object) -> Charging:
    """Return the stage with a Receipt that is being sent."""
    return replace(stage, sent_receipts=_latest(stage.sent_receipts, receipt))


def _latest(sent: tuple[object, ...], one: object) -> tuple[object, ...]:
    return sent if sent[-1:] == (one,) else (*sent, one)[-REMEMBERED_READINGS:]


def confirm(
    stage: Charging | Stopping,
    reading: object,
    payload: bytes,
    *,
    charged_wh: int | None,
    discharged_wh: int | None = None,
) -> tuple[Charging | Stopping, tuple[Command | Observe, ...]]:
    """Return the stage after the confirmation of a sent reading, and the commands that journal it.

    `payload` is the verified message. A repetition is in the journal already, and does not fill it.
    """
    contract = stage.selected.contract
    assert contract is not None, "only a contract signs readings"
    if reading == stage.confirmed:
        return stage, ()
    seen: dict[str, Scalar] = {"charged_wh": charged_wh, "discharged_wh": discharged_wh, "emaid": contract.emaid}
    commands = (Journal(MeteringConfirmed(payload=payload)), Observe("metering", "confirmed", seen))
    left = stage.sent_readings[stage.sent_readings.index(reading) :]
    return replace(stage, sent_readings=left, confirmed=reading), commands
