"""A charger with direct current: a power stage behind a contactor, and an isolation monitor."""

import asyncio
from collections.abc import Coroutine
from typing import Final

from secc.hardware.evse import Evse, Parts, asked
from secc.session import ports
from v2g.hardware.interfaces import OFF, Demand, StageParts, StageReport
from v2g.hardware.interlock import TOUCH_MV
from v2g.iso15118.engine.session import Command, Fact
from v2g.safety.excess import microseconds
from v2g.safety.flow import DIRECT, Flow

BREAKABLE_MA: Final = 1_000
"""Current that the contactor may interrupt without wear."""

CALM_S: Final = 1.0
"""Time for a stage to reduce its current; then the contactor opens anyway."""

REACHED_MV: Final = 10_000
REACH_S: Final = 10.0
"""Tolerance of the voltage in the cable check, and its time limit."""

FOLLOW_S: Final = 0.75
EXCESS_S: Final = 1.0
"""How long the stage may take to follow a lower command; and how long a current may then exceed the command, or flow in
the other direction, by its margin, dips included; a larger excess for a quarter at least."""
_FOLLOW_US: Final = microseconds(FOLLOW_S)
_EXCESS_US: Final = microseconds(EXCESS_S)

PRE_CHARGE_MA: Final = 2_000
"""What flows into the vehicle's capacitors while only voltage is commanded (IEC 61851-23: 2 A)."""


class DcEvse(Evse):
    """A charger with direct current; see `Evse`."""

    def __init__(self, parts: Parts, power: StageParts) -> None:
        self._stage, self._isolation, self._isolation_test = power.stage, power.isolation, power.isolation_test
        self._checking = False
        self._demand = OFF
        self._highest_mv = 0
        self._output = Flow()
        self._charges = False
        self._var = 0
        super().__init__(parts)
        self._stage.on_report(self._reported)
        self._stage.on_fault(self.fault)

    @property
    def present(self) -> ports.Measured:
        """Voltage and current at the output."""
        present = self._stage.present
        return ports.Measured(present.voltage_mv, present.current_ma)

    @property
    def max_var(self) -> int:
        return self._stage.max_var

    @property
    def var(self) -> int:
        return self._var

    def react(self, var: int) -> None:
        most = self._stage.max_var
        self._var = max(-most, min(most, var))
        self._stage.react(self._var)

    def execute(self, command: Command) -> Coroutine[object, object, Fact | None] | None:
        match command:
            case ports.SetOutput():
                if not self._charges and self._demand.voltage_mv and command.voltage_mv:
                    gap_mv = self._stage.present.voltage_mv - self._demand.voltage_mv  # the pre-charge ends with this
                    self._figures.take("pre_charge_gap_v", gap_mv / 1000)
                self._charges = True
                limit_w = command.charge_w if command.current_ma >= 0 else command.discharge_w
                self._drive(Demand(command.voltage_mv, command.current_ma, limit_w))
                return None
            case ports.StartPreCharge(voltage_mv=voltage_mv):
                self._charges = False
                self._drive(Demand(voltage_mv))
                return None
            case ports.StartCableCheck(voltage_mv=voltage_mv):
                self._charges = False
                return self._cable_check(voltage_mv, self._offs)
        return super().execute(command)

    def _drive(self, demand: Demand) -> None:
        """Forward a command, if the interlock has let the contactor close: nothing else authorises an output."""
        if not self.interlock.commanded:
            demand = OFF
        self._highest_mv = max(self._highest_mv, demand.voltage_mv)
        self._demand = demand
        self._stage.drive(demand)

    def _off(self) -> None:
        self._demand = OFF
        self._stage.drive(OFF)

    def _lower(self, output: ports.Output) -> None:
        assert isinstance(output, ports.SetOutput)
        demand = self._demand
        charging = demand.current_ma >= 0
        least, most = min(0, output.current_ma), max(0, output.current_ma)
        self._drive(
            Demand(
                min(demand.voltage_mv, output.voltage_mv),
                max(least, min(most, demand.current_ma)),
                min(demand.power_w, output.charge_w if charging else output.discharge_w),
            )
        )

    def _reported(self, report: StageReport) -> None:
        self._measured()
        self._watch_output()
        self._tell_interlock(lambda now: self.interlock.output(report.voltage_mv, now))

    def _watch_output(self) -> None:
        present = self._stage.present
        if self._demand == OFF and present.voltage_mv < TOUCH_MV and not self.contactors_closed:
            self._highest_mv = 0
            self.fault("discharge_too_slow", active=False)
        elif self._highest_mv and present.voltage_mv > self._highest_mv * 11 // 10 + REACHED_MV:
            self.fault("over_voltage", active=True)
        self._watch_current()
        # watch the insulation while the output is connected, also without a current: the monitor goes on after the
        # cable check, which waits for its result itself. What it has lost is over once it answers, connected or not.
        ohm = self._isolation.resistance_ohm
        if present.voltage_mv > TOUCH_MV and not self._checking and self.contactors_closed:
            self.fault("isolation_lost", active=ohm is None)
            if ohm is not None and not self._insulated(ohm, present.voltage_mv):
                self.fault("isolation_low", active=True)
        elif ohm is not None:
            self.fault("isolation_lost", active=False)

    def _watch_current(self) -> None:
        """The current must match the command, in size and direction."""
        demand, present, now_us = self._demand, self._stage.present, microseconds(self._clock.monotonic())
        most_ma = min(abs(demand.current_ma), demand.power_w * 1_000_000 // max(1, present.voltage_mv))
        if not self._charges and demand.voltage_mv:
            most_ma = max(most_ma, PRE_CHARGE_MA)
        bounds = (most_ma, 0) if demand.current_ma >= 0 else (0, most_ma)
        self._output = self._output.then(
            present.current_ma, *bounds, margin=DIRECT, follow_us=_FOLLOW_US, now_us=now_us
        )
        if self._output.excess.lasts(_EXCESS_US):
            self.fault(
                "over_current" if present.current_ma * demand.current_ma > 0 else "power_not_obeyed", active=True
            )
        elif self._output.excess.weight:
            self._look_again(self._watch_current)

    def _insulated(self, ohm: int, voltage_mv: int) -> bool:
        return ohm * 1000 >= self._watch.insulation_ohm_per_v * voltage_mv

    async def _cable_check(self, voltage_mv: int, offs: int) -> Fact:
        """Let the isolation monitor test itself, and measure with it."""
        self._checking, began = True, self._clock.monotonic()
        try:
            if not await self._isolation_tested():
                return ports.CableCheckFinished(passed=False)
            done = await self._measured_insulation(voltage_mv, offs)
            if done == ports.CableCheckFinished(passed=True):
                self._figures.take("cable_check_s", self._clock.monotonic() - began)
            return done
        finally:
            self._checking = False

    async def _isolation_tested(self) -> bool:
        """Return whether the isolation monitor passes its own test, if it has one: a monitor that cannot find an earth
        fault reports a sound insulation."""
        if self._isolation_test is None:
            return True
        began = self._clock.monotonic()
        failed = await asked(self._isolation_test)
        self._log("isolation", failed, began)
        if failed:
            self.fault("isolation_test_failed", active=True)
        return not failed

    async def _measured_insulation(self, voltage_mv: int, offs: int) -> Fact:
        """Close the contactor, apply the voltage, measure the insulation, and remove the voltage again."""
        failed = ports.CableCheckFinished(passed=False)
        state = await self._close_contactors(offs)
        if offs != self._offs:
            return failed
        if state != ports.ContactorState(closed=True):
            return ports.CableCheckFinished(passed=False, why=f"the contactor may not close: {self.blocked}")
        self._drive(Demand(voltage_mv))
        try:
            async with asyncio.timeout(REACH_S):
                await self._until(
                    lambda: offs != self._offs or self._stage.present.voltage_mv >= voltage_mv - REACHED_MV
                )
        except TimeoutError:
            why = f"the output has {self._stage.present.voltage_mv / 1000:g} V, not {voltage_mv / 1000:g} V"
            return ports.CableCheckFinished(passed=False, why=why)
        if offs != self._offs:
            return failed
        ohm = await self._isolation.measure(voltage_mv)
        if offs != self._offs:
            return failed
        self._drive(OFF)
        await self._discharged()
        passed = offs == self._offs and self.contactors_closed
        if ohm is None or not self._insulated(ohm, voltage_mv):
            word = "isolation_lost" if ohm is None else "isolation_low"
            self.fault(word, active=True)
            return failed
        return ports.CableCheckFinished(passed=passed)

    async def _output_failed(self) -> str:
        """See Evse: no voltage without a command."""
        safe = await self._within(self._watch.discharge_s, lambda: self._stage.present.voltage_mv < TOUCH_MV)
        return "" if safe else f"{self._stage.present.voltage_mv / 1000:g} V are at the output"

    async def _calm(self) -> None:
        try:
            async with asyncio.timeout(CALM_S):
                await self._until(lambda: abs(self._stage.present.current_ma) <= BREAKABLE_MA)
        except TimeoutError:
            return

    async def _open_contactors(self, offs: int) -> Fact | None:
        state = await super()._open_contactors(offs)
        if not self.contactors_closed:
            await self._discharged()
        return state

    async def _discharged(self) -> None:
        """Wait until the output is touch-safe; remaining charge is a fault."""
        try:
            async with asyncio.timeout(self._watch.discharge_s):
                await self._until(lambda: self._stage.present.voltage_mv < TOUCH_MV)
        except TimeoutError:
            self.fault("discharge_too_slow", active=True)
