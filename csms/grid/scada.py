"""What steers the site from outside as a source of the grid signal, with a dead-man time: a SCADA system by registers
over Modbus TCP or by IEC 60870-5-104, or a control box by EEBUS.

Every node listens. The one that is written to states the registers' values for all; when nobody writes for the dead-man
time, the configured safe state applies, and a written limit that is lower stays: a source that is lost raises nothing.
"""

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from csms.grid import store as rows
from csms.grid.config import EEBUS, SCADA, ControlBox, Scada
from csms.grid.iec104 import Iec104Link
from csms.grid.limits import least_w
from csms.grid.meters import connection_at
from csms.grid.rules import SourceSignal
from csms.grid.setpoints import SetpointFollower
from csms.grid.source import GridSource
from csms.services import Services
from csms.stations.store import faulted_of
from csms.transactions.powers import FRESH_MS, flow, powers
from v2g.energy.conductors import LINES, VOLTAGE
from v2g.energy.limits import MOST_W
from v2g.energy.section_14a import least_power_w
from v2g.hardware.energy_manager.commands import EnergyCommand, ManagedEvse, ManagedStation
from v2g.io.hardware.energy_config import EnergyModbusConfig
from v2g.io.hardware.energy_modbus import ModbusEnergyManager

if TYPE_CHECKING:
    from v2g.io.hardware.energy_eebus import EebusEnergyManager

_LONGEST_PAUSE_S: Final = 1.0
_SHOWN_EVERY_MS: Final = 5_000
_FOREVER_MS: Final = 2**53 - 1
_BACK_MS: Final = 1_000
"""A clock that is set back by more makes a dead-man time end at once: it would last longer by as much."""


class _Preset(NamedTuple):
    fallback_charge_w: int
    fallback_discharge_w: int
    timeout_s: float


class ScadaRegisters:
    """Follows what is written to the registers, or said by a box. `link` serves them, once opened."""

    def __init__(self, services: Services, config: Scada | ControlBox) -> None:
        self._services, self._config = services, config
        self._source = EEBUS if isinstance(config, ControlBox) else SCADA
        self._least_w = least_power_w(config.section_14a_devices) if isinstance(config, ControlBox) else 0
        self._setpoints = SetpointFollower(services, self._source)
        self.link: ModbusEnergyManager | Iec104Link | EebusEnergyManager
        self._keeps: ModbusEnergyManager | Iec104Link | None = None
        """The link whose commands are stored here; EEBUS keeps its own."""
        self._kept = ""
        if isinstance(config, ControlBox):
            from v2g.io.hardware import energy_eebus  # imported only if needed

            preset = _Preset(config.safe_import_w, config.safe_export_w, config.dead_man_s)
            self.link = energy_eebus.EebusEnergyManager(
                config.node, preset, self._written, clock=services.clock, observe=services.observe, site=True
            )
        elif config.iec104 is not None:
            self.link = self._keeps = Iec104Link(config.iec104, self._written, self._refused, services.clock.utc_ms)
        else:
            registers = EnergyModbusConfig(host=config.host, port=config.port)
            self.link = self._keeps = ModbusEnergyManager(registers, 0, self._written, self._refused)
        self._command = EnergyCommand()
        self._written_ms: int | None = None
        self._stated_ms = 0
        self._stated_command: EnergyCommand | None = None
        self._live: bool | None = None
        self._shown_ms = 0
        self._again = asyncio.Event()

    async def run(self) -> None:
        """Serve registers, and apply what is written, until cancelled. Raises TransportError."""
        await self._resume()
        await self.link.open()
        try:
            while True:
                self._again.clear()
                await self.step()
                try:
                    async with asyncio.timeout(min(_LONGEST_PAUSE_S, self._config.dead_man_s / 4)):
                        await self._again.wait()
                except TimeoutError:
                    pass
        finally:
            await self.link.close()

    async def step(self) -> None:
        """State the values of the registers while they are written, the safe state when they no longer are."""
        now_ms = self._services.clock.utc_ms()
        dead_ms = self._dead_man_ms()
        if self._written_ms is not None and -_BACK_MS < now_ms - self._written_ms < dead_ms:
            command, written_ms = self._command, self._written_ms  # another may be written meanwhile
            changed = command != self._stated_command
            # The next write, after a restart or to another node, may be a heartbeat alone
            if self._keeps is not None and (kept := self._keeps.kept) != self._kept:
                await self._services.store.run(rows.save_memory, self._source, kept)
                self._kept = kept
            again = self._stated_ms - now_ms >= _BACK_MS or written_ms - self._stated_ms >= dead_ms // 3
            if self._live is not True or changed or again:
                await self._state(
                    SourceSignal(
                        source=self._source,
                        import_limit_w=_watts(command.limit_w, command.limit_ma),
                        export_limit_w=_watts(command.discharge_w, command.discharge_ma),
                        export_until_ms=written_ms + self._config.outage_s * 1000,
                        setpoint_w=None if command.setpoint_w is None else round(command.setpoint_w),
                        setpoint_until_ms=written_ms + 2 * self._dead_man_ms(),
                    )
                )
            self._stated_command = command
            self._note(live=True)
            setpoint_w = self._command.setpoint_w
            await self._setpoints.follow(None if setpoint_w is None else round(setpoint_w), _FOREVER_MS, now_ms)
        else:
            await self._resume()
            await self._let_go(now_ms, dead_ms)
        await self._show(now_ms)

    async def _resume(self) -> None:
        """Go on from what was written last, here or to another node."""
        written_ms, kept = self._written_ms, await self._services.store.read(rows.memory_of, self._source)
        if self._keeps is None or kept in ("", self._kept) or self._written_ms != written_ms:
            return
        self._kept = kept
        with contextlib.suppress(msgspec.DecodeError):  # of the other protocol, or of another version
            self._keeps.resume(kept)

    async def _let_go(self, now_ms: int, dead_ms: int) -> None:
        """Apply the safe state, unless another node is written to."""
        if self._live is not None:  # else it may be from before a restart, or another node's: the dead-man time counts
            await self._setpoints.follow(None, 0, now_ms)
        stated_ms = await self._services.store.read(rows.source_stated_ms, self._source)
        mine = self._live is True and (stated_ms is None or stated_ms <= self._stated_ms)
        longest_ms = dead_ms * 4 // 3  # more than the other nodes' pauses
        silent = stated_ms is None or not -longest_ms < now_ms - stated_ms < longest_ms
        if self._live is False:
            if stated_ms is not None and stated_ms > self._stated_ms:
                self._live = None  # another node was written to since
        elif mine or silent:
            stated = {each.source: each for each in await self._services[GridSource].stated()}
            before = stated.get(self._source, SourceSignal(source=self._source))
            safe_w = self._config.safe_import_w, self._config.safe_export_w
            await self._state(before.abandoned(safe_w, f"nothing was written for {self._config.dead_man_s:g} s"))
            self._note(live=False)

    async def _state(self, stated: SourceSignal) -> None:
        self._stated_ms = await self._services[GridSource].state(stated)
        self._shown_ms = 0  # who wrote a limit reads at once what is in force

    def _dead_man_ms(self) -> int:
        return round(min(self._config.dead_man_s, self._command.valid_s or self._config.dead_man_s) * 1000)

    def _written(self, _place: int, command: EnergyCommand) -> None:
        self._written_ms, command = self._services.clock.utc_ms(), command.at_least(self._least_w)
        if command != self._command:
            self._command = command
            self._again.set()

    def _refused(self, reason: str) -> None:
        self._services.announce("ocpp", "scada_refused", reason=reason[:200])

    def _note(self, *, live: bool) -> None:
        if live is not self._live:
            self._live = live
            name = "scada_active" if live else "scada_lost"
            self._services.announce("ocpp", name, source=self._source, dead_man_s=self._config.dead_man_s)

    async def _show(self, now_ms: int) -> None:
        """Update the registers to be read: the limits in force, and the power of all vehicles."""
        if now_ms < self._shown_ms + _SHOWN_EVERY_MS:
            return
        self._shown_ms = now_ms
        signal = self._services[GridSource].current
        flowing = await self._services.store.read(flow, now_ms - FRESH_MS)
        limits = () if signal is None else signal.limits_at(now_ms)
        point = self._services.config.grid.connection_point
        import_w, export_w = (least_w(limits, each, point) if limits else 0 for each in ("import", "export"))
        state = ManagedEvse(
            evse=0, status="", power_w=flowing.watts, charge_limit_w=import_w, discharge_limit_w=export_w
        )
        timeout_s = round(self._config.dead_man_s)
        evses = (state, *await self._chargers(now_ms))
        reading = await self._services.store.read(connection_at, point, now_ms - FRESH_MS)
        heard = self._live is not False  # None: those from before a restart, or another node's, are in force
        self.link.notify(ManagedStation(heard=heard, timeout_s=timeout_s, evses=evses, connection=reading))

    async def _chargers(self, now_ms: int) -> list[ManagedEvse]:
        """Return the stations that have points of their own; one that is not connected has no status."""
        iec104 = self._config.iec104 if isinstance(self._config, Scada) else None
        names = () if iec104 is None else iec104.chargers
        if not names:
            return []
        connected = self._services.connections.connected()
        faulted = await self._services.store.read(faulted_of, names)
        watts: dict[str, int | None] = {}
        for each in await self._services.store.read(powers, frozenset(names), now_ms - FRESH_MS):
            before = watts.get(each.station_id, 0)
            watts[each.station_id] = None if each.watts is None or before is None else before + round(each.watts)
        return [
            ManagedEvse(
                evse=number,
                status="" if name not in connected else "Faulted" if name in faulted else "Available",
                power_w=watts.get(name, 0),
            )
            for number, name in enumerate(names, 1)
        ]


def _watts(power_w: float | None, line_ma: int | None) -> int | None:
    """Return a limit in W; one of each conductor is that of a balanced connection, as stations read it."""
    if line_ma is not None:
        return min(MOST_W, line_ma * VOLTAGE * len(LINES) // 1000)
    return None if power_w is None else min(MOST_W, round(power_w))
