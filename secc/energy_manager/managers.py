"""Energy managers on site: their commands are passed to the charging station, the charger's states to them."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from secc.energy_manager.config import EnergyManagerConfig
from secc.energy_manager.facts import EnergyManagerWatch
from v2g import typed_json
from v2g.energy.section_14a import least_power_w
from v2g.hardware.energy_manager import commands
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.disk import DiskThread
from v2g.io.runtime.supervision import Supervisor
from v2g.io.storage.kept_file import KeptFile
from v2g.iso15118.engine.session import Fact
from v2g.observe import Observe, Scalar


class LinkContext(NamedTuple):
    """What links are made of beside their configuration."""

    evses: int
    take: commands.Take
    refused: commands.Refused
    clock: Clock
    observe: Callable[[Observe], None]
    renew: Callable[[], None]


def _mqtt(config: EnergyManagerConfig, context: LinkContext) -> commands.EnergyManagerLink:
    from v2g.io.hardware.energy_mqtt import MqttEnergyManager  # imported only if needed

    assert config.mqtt is not None
    return MqttEnergyManager(config.mqtt, context.evses, context.take, context.refused)


def _modbus(config: EnergyManagerConfig, context: LinkContext) -> commands.EnergyManagerLink:
    from v2g.io.hardware.energy_modbus import ModbusEnergyManager

    assert config.modbus is not None
    return ModbusEnergyManager(config.modbus, context.evses, context.take, context.refused, context.renew)


def _eebus(config: EnergyManagerConfig, context: LinkContext) -> commands.EnergyManagerLink:
    from v2g.io.hardware.energy_eebus import EebusEnergyManager

    assert config.eebus is not None
    return EebusEnergyManager(config.eebus, config, context.take, clock=context.clock, observe=context.observe)


def _relays(config: EnergyManagerConfig, context: LinkContext) -> commands.EnergyManagerLink:
    from v2g.io.hardware.energy_relays import RelayEnergyManager

    assert config.relays is not None
    return RelayEnergyManager(config.relays, context.take, context.refused)


MakeLink = Callable[[EnergyManagerConfig, LinkContext], commands.EnergyManagerLink]

BACKENDS: Final[dict[str, MakeLink]] = {"mqtt": _mqtt, "modbus": _modbus, "eebus": _eebus, "relays": _relays}
"""Factories of backends by configuration key. A new backend needs an entry here, and its section."""


KEEP_S: Final = 60.0
"""Interval in which higher limits are stored: flash memory wears out."""


class EnergyManager:
    """One energy manager. `notify` takes facts for the station, `states` returns the state of every EVSE.

    What remains of its commands when it is lost also does after a restart, by a file in `directory`; EEBUS, whose
    limits have ends of their own, keeps that itself. Registers are stored beside: the next write may be of one alone.
    """

    def __init__(
        self,
        config: EnergyManagerConfig,
        evses: int,
        *,
        clock: Clock,
        notify: Callable[[Fact], None],
        states: Callable[[], tuple[commands.ManagedEvse, ...]],
        observe: Callable[[Observe], None],
        directory: Path,
        disk: DiskThread,
        outlet_v: int = 690,
    ) -> None:
        self._config, self._clock, self._tell, self._states, self._observe = config, clock, notify, states, observe
        self._outlet_v = outlet_v
        name = f"energy-manager-{config.source}"
        file = KeptFile(directory / f"{name}.json", disk, self._keep_failed)
        self._file = None if config.backend == "eebus" else file
        self._registers = KeptFile(directory / f"{name}.registers.json", disk, self._keep_failed)
        self._kept, self._kept_at, self._unstored = self._load(), -KEEP_S, False
        self._watch = EnergyManagerWatch(
            config.source,
            evses=evses,
            timeout_s=config.timeout_s,
            fallback=commands.EnergyCommand(limit_w=config.fallback_charge_w, discharge_w=config.fallback_discharge_w),
            outlet_v=outlet_v,
            kept=self._kept,
        )
        context = LinkContext(
            evses,
            self._take,
            lambda reason: self._report("energy_manager_refused", reason=reason[:200]),
            clock,
            observe,
            self._notify,
        )
        self.link = BACKENDS[config.backend](config, context)
        self._keeps = self.link if isinstance(self.link, commands.KeepingLink) else None
        self._held = self._resume()
        self._timer: asyncio.TimerHandle | None = None
        self._supervisor = Supervisor(observe)

    async def open(self) -> None:
        """Apply the fall-back, and connect. Raises TransportError when that fails."""
        self._pass_on(self._watch.begin())
        if self._watch.silent:
            self._report("energy_manager_lost", instead=self._watch.instead)
        await self.link.open()
        self._supervisor.keep("energy manager", self._tell_forever)

    async def close(self) -> None:
        """Disconnect; the values in force remain."""
        if self._timer is not None:
            self._timer.cancel()
        await self._supervisor.close()
        await self.link.close()

    def _load(self) -> dict[int, commands.EnergyCommand]:
        try:
            data = b"" if self._file is None else self._file.load()
            return typed_json.decode_kept(data, dict[int, commands.EnergyCommand]) if data else {}
        except (OSError, msgspec.MsgspecError) as error:
            self._report("energy_manager_not_stored", reason=str(error)[:200])
            return {}

    def _resume(self) -> str:
        """Go on from the registers of before, and return them."""
        if self._keeps is None:
            return ""
        try:
            if held := self._registers.load().decode():
                self._keeps.resume(held)
            return held
        except (OSError, UnicodeDecodeError, msgspec.DecodeError) as error:
            self._report("energy_manager_not_stored", reason=str(error)[:200])
            return ""

    def _keep(self) -> None:
        """Store what remains of its commands: a lower limit at once, a higher one, or what failed, every KEEP_S."""
        kept, held = self._watch.kept, "" if self._keeps is None else self._keeps.kept
        if self._file is None or ((kept, held) == (self._kept, self._held) and not self._unstored):
            return
        now = self._clock.monotonic()
        lower = any(word.lowers(self._kept.get(place)) for place, word in kept.items())
        if lower or now >= self._kept_at + KEEP_S:
            self._kept, self._held, self._kept_at, self._unstored = kept, held, now, False
            if self._keeps is not None:  # first: without it a heartbeat would raise what the other file has lowered
                self._registers.keep(held.encode())
            self._file.keep(msgspec.json.encode(kept) if kept else b"")

    def _keep_failed(self, reason: str) -> None:
        self._unstored = True
        self._report("energy_manager_not_stored", reason=reason)

    async def _tell_forever(self) -> None:
        while True:
            self._keep()
            self._notify()
            await asyncio.sleep(self._config.state_s)

    def _notify(self) -> None:
        timeout_s = round(self._config.timeout_s)
        self.link.notify(commands.ManagedStation(heard=self._watch.alive, timeout_s=timeout_s, evses=self._states()))

    def _take(self, evse_id: int, word: commands.EnergyCommand) -> None:
        was_alive = self._watch.alive
        if (least_w := least_power_w(self._config.section_14a_devices)) > 0:
            word = word.at_least(least_w, outlet_v=self._outlet_v)
        self._pass_on(self._watch.take(evse_id, word, self._clock.monotonic()))
        self._keep()
        if self._watch.alive and not was_alive:
            self._report("energy_manager_connected")
        self._look()

    def _look(self) -> None:
        """Check for expired commands, and schedule the next check."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        now = self._clock.monotonic()
        before = self._watch.silent
        facts = self._watch.tick(now)
        if self._watch.silent != before:  # also where its last command is what holds now
            self._report("energy_manager_lost", instead=self._watch.instead)
            self._pass_on(facts)
        if (due := self._watch.due) is not None:
            self._timer = asyncio.get_running_loop().call_later(due - now, self._look)

    def _pass_on(self, facts: Sequence[Fact]) -> None:
        for fact in facts:
            self._tell(fact)

    def _report(self, name: str, **data: Scalar) -> None:
        self._observe(Observe("power", name, {"source": self._config.source, **data}))
