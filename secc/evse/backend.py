"""Back-end commands of a session's core, executed by the charging station, or without one."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Final, Protocol, cast

import msgspec

from secc.hardware.meter import Meter
from secc.session import ports
from secc.session.config import services_of
from secc.session.guard import STATE_B
from secc.station.station import ChargerStation
from v2g.io.runtime.clock import Clock
from v2g.iso15118.engine.session import Command, Fact
from v2g.ocpp.messages.transactions import ChargingState, Reason, TriggerReason
from v2g.pki.certificates import contract_of
from v2g_station.blocks.authorization.contracts import AuthorizationStatus
from v2g_station.blocks.der.vehicle_inverters import VehicleGridEvent
from v2g_station.blocks.evse import PowerLimited, VehicleAddress
from v2g_station.blocks.smart_charging.ev_needs import plan_schedule
from v2g_station.blocks.smart_charging.high_level import PlanReported
from v2g_station.blocks.transaction_records import MeterSample, SignedRegister
from v2g_station.blocks.transactions.managed import RemoteStartExpired, RemoteStartRequested

TRIGGERS: Final[dict[str, TriggerReason]] = {
    "Local": "StopAuthorized",
    "StoppedByEV": "StopAuthorized",
    "MasterPass": "StopAuthorized",
    "DeAuthorized": "Deauthorized",
    "EVDisconnected": "EVCommunicationLost",
    "Timeout": "EVCommunicationLost",
    "Remote": "RemoteStop",
    "ImmediateReset": "ResetCommand",
    "LocalOutOfCredit": "CostLimitReached",
    "EnergyLimitReached": "EnergyLimitReached",
    "TimeLimitReached": "TimeLimitReached",
    "SOCLimitReached": "SoCLimitReached",
}
"""OCPP's ReasonEnum of an ended transaction -> its TriggerReasonEnum; anything else is AbnormalCondition."""


CONNECTION_S: Final = 120.0
"""Validity of a remote start before its vehicle arrives, real seconds: TxCtrlr.EVConnectionTimeOut."""


Outcome = Coroutine[object, object, Fact | None] | asyncio.Future[None] | None
"""A pending answer or stored record: nothing may follow without it."""


class EvseBackend(Protocol):
    """Executes the commands of `secc.session.ports` for the back end, and those of the station about remote starts;
    others are ignored."""

    def vehicle_left(self) -> None:
        """A session has ended: what was granted to its vehicle and not used is withdrawn."""

    def execute(self, command: Command | Fact) -> Outcome:
        """Queue durably, or request: see each command for its result."""


class StationBackend:
    """The EvseBackend of one EVSE of the station. `signed` returns the meter's signed data of an ended session."""

    def __init__(
        self,
        station: ChargerStation,
        evse_id: int,
        meter: Meter,
        clock: Clock,
        signed: Callable[[str], tuple[SignedRegister, ...]],
    ) -> None:
        self._station, self._meter, self._clock, self._signed = station, meter, clock, signed
        self._evse_id = evse_id
        self._remote_start = asyncio.Event()
        self._remote_until = 0.0
        self._remote_modes: Sequence[str] = ()

    def vehicle_left(self) -> None:
        self._station.fact(VehicleAddress(evse_id=self._evse_id))

    def execute(self, command: Command | Fact) -> Outcome:
        match command:
            case RemoteStartRequested(energy_transfer=modes):
                # F02: a vehicle waiting for external identification may continue, or the next until EVConnectionTimeOut
                self._remote_modes = modes
                self._remote_until = self._clock.monotonic() + CONNECTION_S
                self._remote_start.set()
            case RemoteStartExpired():
                self._remote_start.clear()  # the next vehicle is another one
            case ports.AuthorizeContract():
                return self._authorize(command)
            case ports.AuthorizeExternally(attempt=attempt, mac_address=mac_address):
                return self._await_remote_start(attempt, mac_address)
            case ports.RequestContract():
                return self._request_contract(command)
            case ports.TransactionStarted():
                self._remote_start.clear()
                self._station.started(
                    command.session_id,
                    command.emaid,
                    evse_id=self._evse_id,
                    sample=self._sample(),
                    evcc_id=command.evcc_id,
                    protocol=command.protocol,
                )
                return self._station.saving
            case ports.TransactionUpdated():
                self._station.updated(
                    command.session_id,
                    trigger=cast(TriggerReason, command.trigger),
                    charging_state=cast(ChargingState, command.charging_state),
                    sample=self._sample(command.power_w, command.soc),
                )
                return self._station.saving
            case ports.TransactionEnded():
                self._ended(command)
                return self._station.saving
            case ports.ForgetSession(session_id=session_id, reason=reason, stopped_reason=stopped):
                self._ended(ports.TransactionEnded(session_id, reason, stopped, None))
                return self._station.saving
            case ports.ReportChargingNeeds():
                return self._needs(command)
            case ports.ReportChargingPlan(steps=steps, duration_s=duration_s, dynamic=dynamic):
                plan = PlanReported(evse_id=self._evse_id, schedule=plan_schedule(steps, duration_s), dynamic=dynamic)
                self._station.fact(plan)
            case ports.ReportGridEvent(begun=begun):
                self._station.fact(VehicleGridEvent(evse_id=self._evse_id, ended=not begun))
            case ports.ReportLimits(charge_limited_by=charge, discharge_limited_by=discharge):
                self._station.fact(PowerLimited(evse_id=self._evse_id, charge=charge, discharge=discharge))
        return None

    async def _authorize(self, command: ports.AuthorizeContract) -> Fact:
        outcome = await self._station.requests.authorize(
            command.emaid, command.chain, evse_id=self._evse_id, known_root=command.known_root
        )
        return _decided(command.attempt, outcome.decision, outcome.energy_transfer)

    async def _request_contract(self, command: ports.RequestContract) -> Fact:
        return ports.ContractAnswered(command.attempt, await self._station.requests.fetch_contract(command.request))

    async def _await_remote_start(self, attempt: int, mac_address: str) -> Fact:
        if self._clock.monotonic() >= self._remote_until:
            self._remote_start.clear()
        if mac_address and not self._remote_start.is_set():
            self._station.fact(VehicleAddress(evse_id=self._evse_id, mac_address=mac_address))
        await self._remote_start.wait()
        self._remote_start.clear()
        return _decided(attempt, AuthorizationStatus.ACCEPTED, self._remote_modes)

    def _ended(self, command: ports.TransactionEnded) -> None:
        self._station.fact(PowerLimited(evse_id=self._evse_id))
        sample = self._sample(0, command.soc)
        self._station.ended(
            command.session_id,
            # a vehicle that only changes its state has sent no SessionStopReq (E06.FR.07, E15.FR.04)
            trigger="ChargingStateChanged"
            if command.reason == STATE_B
            else TRIGGERS.get(command.stopped_reason, "AbnormalCondition"),
            reason=cast(Reason, command.stopped_reason),
            sample=msgspec.structs.replace(sample, signed=self._signed(command.session_id)),
        )

    async def _needs(self, command: ports.ReportChargingNeeds) -> Fact:
        status = await self._station.requests.charging_needs(command.needs, evse_id=self._evse_id)
        return ports.ChargingNeedsAnswered(status)

    def _sample(self, power_w: int | None = None, soc: int | None = None) -> MeterSample:
        reading = self._meter.read(self._clock.utc_ms())
        return MeterSample(
            utc_ms=reading.utc_ms,
            import_mwh=reading.import_mwh,
            export_mwh=reading.export_mwh,
            power_w=power_w,
            soc=soc,
        )


class NoBackend:
    """The EvseBackend without a CSMS: `contracts` (EMAIDs) may charge; with `free` also external identification."""

    def __init__(self, contracts: tuple[str, ...], *, free: bool) -> None:
        self._contracts = {contract_of(emaid) for emaid in contracts}
        self._free = free

    def vehicle_left(self) -> None:
        """Nothing is granted to vehicles."""

    def execute(self, command: Command | Fact) -> Outcome:
        match command:
            case ports.AuthorizeContract(attempt=attempt, emaid=emaid):
                return self._decide(attempt, allowed=contract_of(emaid) in self._contracts)
            case ports.AuthorizeExternally(attempt=attempt):
                return self._decide(attempt, allowed=self._free)
        return None

    async def _decide(self, attempt: int, *, allowed: bool) -> Fact:
        status = AuthorizationStatus.ACCEPTED if allowed else AuthorizationStatus.UNKNOWN
        return ports.AuthorizationDecided(attempt, status)


def _decided(attempt: int, status: AuthorizationStatus, modes: Sequence[str]) -> Fact:
    services = services_of(modes) if modes else None  # empty: any
    return ports.AuthorizationDecided(attempt, status, services)
