"""Energy managers on site: what they want reaches the charging station, what the charger does reaches them."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from secc.core.energy_manager import EnergyManagerWatch
from secc.core.station.evse import Fact
from v2g.hardware.energy_manager import EnergyManagerLink, EvseState, StationState, Word
from v2g.net.clock import Clock
from v2g.net.hardware.energy_modbus import EnergyModbusConfig, ModbusEnergyManager
from v2g.net.hardware.energy_mqtt import EnergyMqttConfig, MqttEnergyManager
from v2g.observe import Observe


class EnergyManagerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A system on site that bounds, or sets, the charger's power: an energy manager, or the grid operator's box."""

    backend: Literal["mqtt", "modbus"]
    """`mqtt`: topics of a broker; `modbus`: registers of the charger, over TCP."""
    source: Literal["EMS", "SO", "Other"] = "EMS"
    """What the CSMS is told of where limits come from (ChargingLimitSourceEnum); SO is the grid operator."""
    fallback_charge_w: Annotated[int, Meta(ge=0, le=10_000_000)]
    """What all EVSEs together may draw, W, until the energy manager has spoken, and when it falls silent."""
    fallback_discharge_w: Annotated[int, Meta(ge=0, le=10_000_000)] = 0
    """What they may feed back then, W."""
    timeout_s: Annotated[float, Meta(ge=0.1, le=65_535)] = 60.0
    """How long after its last word an energy manager counts as there; words may say longer."""
    state_s: Annotated[float, Meta(ge=0.1, le=3600)] = 5.0
    """How often it is told the charger's state."""
    load: bool = False
    """It tells what flows into the site (`load_w`): profiles in the mode LocalLoadBalancing are taken (Q09)."""
    mqtt: EnergyMqttConfig | None = None
    modbus: EnergyModbusConfig | None = None

    def __post_init__(self) -> None:
        """Keep backend and section together."""
        if (self.backend == "mqtt") != (self.mqtt is not None) or (self.backend == "modbus") != (
            self.modbus is not None
        ):
            raise ValueError(f'backend = "{self.backend}" needs the section `{self.backend}`, and no other one')


def check_sources(configs: Sequence[EnergyManagerConfig]) -> None:
    """Refuse energy managers that the CSMS could not tell apart. Raises ValueError."""
    sources = [each.source for each in configs]
    if len(set(sources)) < len(sources):
        raise ValueError("station.energy_managers: each has a `source` of its own")


def _mqtt(config: EnergyManagerConfig, evses: int) -> EnergyManagerLink:
    assert config.mqtt is not None
    return MqttEnergyManager(config.mqtt, evses)


def _modbus(config: EnergyManagerConfig, evses: int) -> EnergyManagerLink:
    assert config.modbus is not None
    return ModbusEnergyManager(config.modbus, evses)


BACKENDS: Final[dict[str, Callable[[EnergyManagerConfig, int], EnergyManagerLink]]] = {"mqtt": _mqtt, "modbus": _modbus}
"""Name in the configuration to what makes the way there. Another backend is one more line here, and its section."""


class EnergyManager:
    """One energy manager. `tell` takes facts for the station, `states` gives the state of every EVSE."""

    def __init__(
        self,
        config: EnergyManagerConfig,
        evses: int,
        *,
        clock: Clock,
        tell: Callable[[Fact], None],
        states: Callable[[], tuple[EvseState, ...]],
        observe: Callable[[Observe], None],
    ) -> None:
        self._config, self._clock, self._tell, self._states, self._observe = config, clock, tell, states, observe
        self._watch = EnergyManagerWatch(
            config.source,
            timeout_s=config.timeout_s,
            fallback=Word(limit_w=config.fallback_charge_w, discharge_w=config.fallback_discharge_w),
        )
        self.link = BACKENDS[config.backend](config, evses)
        self._timer: asyncio.TimerHandle | None = None
        self._telling: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Let the fall-back hold, and listen. Raises TransportError where nobody can be listened to."""
        self._pass_on(self._watch.begin())
        await self.link.open(self._take, self._refused)
        self._telling = asyncio.create_task(self._tell_forever(), name="energy manager")

    async def close(self) -> None:
        """Listen no longer; what holds is kept."""
        if self._timer is not None:
            self._timer.cancel()
        if self._telling is not None:
            self._telling.cancel()
            await asyncio.gather(self._telling, return_exceptions=True)
        await self.link.close()

    async def _tell_forever(self) -> None:
        while True:
            timeout_s = round(self._config.timeout_s)
            self.link.tell(StationState(heard=self._watch.heard, timeout_s=timeout_s, evses=self._states()))
            await asyncio.sleep(self._config.state_s)

    def _take(self, evse_id: int, word: Word) -> None:
        was_heard = self._watch.heard
        self._pass_on(self._watch.take(evse_id, word, self._clock.monotonic()))
        if not was_heard:
            self._observe(Observe("power", "energy_manager_heard", {"source": self._config.source}))
        if self._timer is None:
            self._look()

    def _look(self) -> None:
        """See whether it has fallen silent, and when to look again."""
        self._timer = None
        now = self._clock.monotonic()
        facts = self._watch.tick(now)
        if facts:
            self._observe(Observe("power", "energy_manager_lost", {"source": self._config.source}))
            self._pass_on(facts)
        if (due := self._watch.due) is not None:
            self._timer = asyncio.get_running_loop().call_later(due - now, self._look)

    def _pass_on(self, facts: Sequence[Fact]) -> None:
        for fact in facts:
            self._tell(fact)

    def _refused(self, reason: str) -> None:
        source = self._config.source
        self._observe(Observe("power", "energy_manager_refused", {"source": source, "reason": reason[:200]}))
