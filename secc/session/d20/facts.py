"""Facts that reach a charge point's session while it waits for the vehicle: from hardware, CSMS, grid, operator."""

from abc import abstractmethod
from typing import Any, Final

from msgspec.structs import replace

from secc.session import energy_transfer, ports
from secc.session.d20 import authorization, delivery, installation
from secc.session.d20.control import NOTICE_S
from secc.session.d20.scheduling import exchange
from secc.session.d20.side_streams import SideStreams
from secc.session.d20.stages import (
    Authorizing,
    Awaiting,
    CableChecking,
    Charging,
    Discovered,
    Finished,
    Fresh,
    Installing,
    Starting,
    Stopping,
)
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.engine.session import Fact

OVER_VOLTAGE: Final = 110
"""Percent of the vehicle's highest voltage above which the output is switched off at once."""

OVER_VOLTAGE_S: Final = 0.4
"""How long the output may be above that voltage at all (IEC 61851-23 CC.6.2), by more than it is regulated to."""

_HOLDING: Final = frozenset({PilotState.B, PilotState.C, PilotState.D})
_NOT_READY: Final = frozenset({PilotState.A, PilotState.B, PilotState.E, PilotState.F})


class Facts(SideStreams):
    """See `SeccSession`, which adds the requests of the main stream."""

    _pending: tuple[Any, int] | None = None
    """The request that waits for a fact, and its payload type."""

    @abstractmethod
    def _answer(self, request: Any, payload_type: int, *, waited: bool) -> None:
        """Answer the request, or go on waiting."""

    @abstractmethod
    def _on_fault(self, word: str) -> None:
        """Stop power at once and end."""

    def _on_fact(self, fact: Fact) -> None:
        if isinstance(self._stage, Finished):
            return
        self._take(fact)
        if self._pending is not None and not self._closed:
            self._answer(*self._pending, waited=False)

    def _take(self, fact: Fact) -> None:
        stage = self._stage
        match fact:
            case ports.Measured():
                self._measured = fact
                self._watch_voltage()
            case ports.DeviceChanged():
                self._take_device(fact.device)
            case ports.MeterRead():
                if self._meter is None:
                    self._meter_begin = (fact.import_mwh, fact.export_mwh)
                self._meter = fact
            case ports.AuthorizationDecided():
                self._allowed = self._allowed if fact.services is None else fact.services
                if isinstance(stage, Authorizing):
                    self._stage = authorization.on_decided(fact, stage)
            case ports.CertificateInstalled():
                if isinstance(stage, Installing):
                    self._stage = installation.on_installed(fact, stage)
            case ports.KeptChanged(paused=paused):
                self._paused = paused if isinstance(stage, Fresh) else self._paused
            case ports.InstallationAvailable(available=available):
                self._can_install = available
            case ports.ChargingNeedsAnswered():
                self._needs_answered(fact)
            case ports.CableCheckFinished():
                if isinstance(stage, CableChecking):
                    self._stage = delivery.on_cable_check(fact, stage)
            case ports.ContactorState():
                self._take_contactor(fact)
            case ports.PilotChanged():
                self._take_pilot(fact.state)
            case ports.HardwareFault():
                self._on_fault(fact.reason)
            case _:
                self._take_wish(fact)

    def _needs_answered(self, fact: ports.ChargingNeedsAnswered) -> None:
        """Plan with the back end's word. What it rejects is another service's turn, or the end (Q01.FR.05, .06)."""
        stage, selected = self._stage, self._selected()
        if fact.status == exchange.REJECTED and selected is not None:
            others = [
                each
                for each in energy_transfer.offered(self._request_context(waited=False))
                if each != selected.service
            ]
            if others and self._config.service_renegotiation:
                self._allowed = frozenset(int(each) for each in others)
                self._reselect()
                fact = ports.ChargingNeedsAnswered("")  # until then by what is known
            elif not isinstance(stage, Awaiting):
                self._terminate("energy_transfer_rejected")
        if isinstance(stage, Awaiting):
            self._stage = exchange.on_needs_answered(fact, stage)

    def _take_wish(self, fact: Fact) -> None:
        told = isinstance(fact, ports.GridChanged | ports.LimitChanged | ports.ProfileSet)
        if told and isinstance(self._stage, Awaiting):
            self._stage = replace(self._stage, status=exchange.TOLD)  # here is what was waited for
        match fact:
            case ports.GridChanged():
                self._take_grid(fact.limits, fact.tariff)
            case ports.LimitsForeseen():
                self._foreseen = fact.limits
                self._replan()
            case ports.LimitChanged():
                self._take_grid((fact.limit,))
            case ports.PricesTold(prices=prices):
                self._told_prices = prices
                self._replan()
            case ports.SetpointChanged():
                self._setpoint = fact.setpoint
                self._arm_setpoint()
                self._perform(self._follow())
            case ports.GridResponseChanged(response=response):
                self._response = response
                self._perform(self._follow())
            case ports.TariffChanged():
                self._take_grid(tariff=fact.tariff)
            case ports.StopRequested():
                if isinstance(self._stage, Authorizing):
                    self._stage = authorization.on_cancelled(self._stage)
                self._terminate(fact.reason)
            case ports.MeteringConfirmationRequested():
                if self._config.metering_confirmation and isinstance(self._stage, Charging) and self._contract():
                    self._notify("MeteringConfirmation")
            case ports.RenegotiationRequested():
                self._notify("ScheduleRenegotiation")
            case ports.PauseRequested():
                if self._config.pause:
                    self._ask_pause()
            case ports.ServiceRenegotiationRequested():
                self._reselect()
            case ports.EnergyTransferAllowed(services=services):
                before, self._allowed = energy_transfer.offered(self._request_context(waited=False)), services
                seen = isinstance(self._stage, Discovered) or self._selected() is not None
                if seen and energy_transfer.offered(self._request_context(waited=False)) != before:
                    self._reselect()  # Q02.FR.06
            case ports.StandbyEnded():
                if isinstance(self._stage, Charging) and self._stage.standby:
                    self._notify("ExitStandby")

    def _terminate(self, reason: str) -> None:
        """Take power away, and ask the vehicle to end the session; one that does not is ended.

        There is no way back: whoever asked first has it.
        """
        if self._stopping:
            return
        self._stopping, self._stop_reason = True, reason
        self._notify("Terminate")
        self._arm("terminate", NOTICE_S)
        self._perform(self._follow())

    def _take_contactor(self, fact: ports.ContactorState) -> None:
        stage = self._stage
        if isinstance(stage, Stopping) and not fact.closed:
            self._powered = False  # anywhere else open contacts may be about to close
        if isinstance(stage, Starting | Stopping):
            self._stage = delivery.on_contactor(fact, stage)
        elif fact.closed and (not self._powered or (isinstance(stage, Charging) and stage.held)):
            self._on_fault("contactor_welded")
        elif isinstance(stage, Charging) and not fact.closed and not stage.held:
            if fact.why.startswith("pilot_"):  # the pilot's own news comes right behind
                self._take_pilot(PilotState(fact.why.removeprefix("pilot_")))
            else:
                self._on_fault(fact.why or "contactor_dropped")

    def _take_device(self, device: ports.Device) -> None:
        """Follow the primary or connection device; trouble with it stops power at once."""
        before, self._device = self._device, device
        if device.trouble and not before.trouble:
            self._observe("power", "device_trouble", trouble=device.trouble)
            self._arm("trouble", self._config.wpt.trouble_s)
        elif not device.trouble:
            self._disarm("trouble")
        if device.trouble != before.trouble:
            self._perform(self._follow())
        if self.family is Family.ACDP and before.connected and not device.connected and self._powered:
            self._on_abort("device_disconnected")

    def _watch_voltage(self) -> None:
        """More voltage than the vehicle bears is cut off, whatever the hardware's own watch allows (IEC 61851-23)."""
        direct = self.family in (Family.DC, Family.ACDP)
        most_mv = self._vehicle.max_voltage_mv if self._vehicle and direct and self._powered else 0
        voltage_mv = self._measured.voltage_mv
        if not most_mv or voltage_mv <= most_mv + max(5_000, most_mv // 100):
            self._disarm("over_voltage")
        elif voltage_mv > most_mv * OVER_VOLTAGE // 100:
            self._on_fault("over_voltage")
        elif "over_voltage" not in self._timers:
            self._arm("over_voltage", OVER_VOLTAGE_S)

    def _take_pilot(self, state: PilotState) -> None:
        self._pilot = state
        if self.family is Family.WPT or (self.family is Family.ACDP and not self._powered):
            return  # there is no pilot, or nothing is connected yet
        if state is PilotState.A:
            self._on_abort("unplugged")
        elif self.family is Family.AC and isinstance(self._stage, Charging) and state in _HOLDING:
            self._hold(self._stage, held=state is PilotState.B)
        elif self._powered and state in _NOT_READY and not isinstance(self._stage, Stopping):
            self._on_abort("pilot_lost")  # the vehicle left C or D while energy may flow

    def _hold(self, stage: Charging, *, held: bool) -> None:
        """Follow a vehicle on alternating current that interrupts by its pilot: the loop goes on without energy."""
        if stage.held is held:
            return
        self._stage = replace(stage, held=held)
        self._perform((*self._follow(), ports.OpenContactors() if held else ports.CloseContactors()))
        self._observe("power", "held" if held else "released")
