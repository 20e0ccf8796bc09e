"""An energy manager, or the grid operator's control box, that limits a charger or a site by EEBUS (R206)."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, Protocol

import msgspec

from v2g.eebus.charger import ChargerFacts, ControllableSystem, FailsafeValues, KeptValues
from v2g.eebus.identity import ShipNode, ship_id
from v2g.eebus.limitation import LimitState
from v2g.eebus.spine import Moment
from v2g.errors import StoreError
from v2g.hardware.energy_manager.commands import MOST_W, ConnectionReading, EnergyCommand, ManagedStation, Take
from v2g.io.eebus import files
from v2g.io.eebus.mdns import ShipDiscovery
from v2g.io.eebus.node import EebusNode
from v2g.io.hardware.energy_config import EnergyEebusConfig
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.disk import DiskThread
from v2g.io.runtime.file_watch import FileWatch
from v2g.io.runtime.supervision import Supervisor
from v2g.io.storage.growing_file import MIB, GrowingFile
from v2g.io.storage.kept_file import KeptFile
from v2g.observe import Observe, Scalar

LOG_MIB: Final = 8
LOG_FILES: Final = 64
"""Full files of the log that are kept: two years have at most 400 MiB (§ 14a EnWG; the period is unverified, K)."""
DRAWN_S: Final = 60.0
"""Interval in which the log notes what is drawn under a limit."""
FOLLOWED_S: Final = 10.0
"""After a change of state what is drawn is noted after this: vehicles have followed."""
_LOGGED: Final = ("eebus_written", "eebus_state", "eebus_peer")
_LIMITS: Final = (LimitState.LIMITED, LimitState.FAILSAFE)


class _Preset(Protocol):
    @property
    def fallback_charge_w(self) -> int: ...
    @property
    def fallback_discharge_w(self) -> int: ...
    @property
    def timeout_s(self) -> float: ...


class EebusEnergyManager:
    """See EnergyManagerLink. The fall-back values of the energy manager are the presets of the failsafe limits.

    Limits in force are repeated within `timeout_s`: if this part fails, the fall-back of the charger holds. `site`: it
    is the energy manager of a site, not of a charger.
    """

    def __init__(
        self,
        config: EnergyEebusConfig,
        preset: _Preset,
        take: Take,
        *,
        clock: Clock,
        observe: Callable[[Observe], None],
        site: bool = False,
    ) -> None:
        self._site = site
        self._config, self._take, self._clock, self._report = config, take, clock, observe
        self._repeat_s = preset.timeout_s / 3
        self._preset = FailsafeValues(
            charge_w=preset.fallback_charge_w, discharge_w=preset.fallback_discharge_w, duration_s=config.failsafe_s
        )
        key = files.node_key(config.folder, f"{config.brand} {config.model}")
        serial = config.serial or key.ski[:12]
        self.node: Final = ShipNode(
            ski=key.ski,
            id=ship_id(config.brand, config.model, serial),
            brand=config.brand,
            type="EnergyManagementSystem" if site else "ChargingStation",
            model=config.model,
            serial=serial,
            categories=("2",) if site else ("3",),
        )
        self._log = GrowingFile(config.folder / files.COMMANDS, max_bytes=LOG_MIB * MIB, keep=LOG_FILES)
        self._drawn: dict[str, Scalar] = {"power_w": None, "import_wh": 0, "export_wh": 0}
        self._drawn_at: float | None = None
        """When what is drawn is written next; None: no limit was in force."""
        facts = ChargerFacts(
            address=self.node.id,
            brand=config.brand,
            model=config.model,
            serial=serial,
            nominal_charge_w=config.nominal_charge_w,
            nominal_discharge_w=config.nominal_discharge_w or None,
            autonomous=config.autonomous,
            production_as_magnitude=config.production_as_magnitude,
            site=site,
        )
        at = Moment(clock.monotonic(), clock.utc_ms())
        self._system = ControllableSystem(facts, self._preset, self._observe, at, self._read_kept())
        self._kept: tuple[object, ...] = self._system.written_values, self._system.held
        self._unstored = False
        self._watch = FileWatch([config.folder / files.TRUSTED])
        self._trusted = self._read_trusted()
        self.ship: Final = EebusNode(
            key,
            self.node,
            self._system,
            self,
            clock=clock,
            observe=self._observe,
            trusted=self._trust_now,
            targets=self._targets,
        )
        self._discovery: ShipDiscovery | None = None
        self._said: EnergyCommand | None = None
        self._disk = DiskThread()
        self._failsafe_file = KeptFile(config.folder / files.FAILSAFE, self._disk, self._not_kept)
        self._seen_file = KeptFile(config.folder / files.SEEN, self._disk, self._not_stored)
        self._supervisor = Supervisor(observe)

    async def open(self) -> None:
        self._say()
        await self.ship.open(self._config.host, self._config.port)
        if self._config.mdns:
            self._discovery = ShipDiscovery(self.node, self._config.host, self.ship.port, self.peers_changed)
            await self._discovery.open()
        self._observe(Observe("power", "eebus_node", {"ski": self.node.ski, "id": self.node.id, "qr": self.node.qr()}))
        self.peers_changed()
        self._supervisor.keep("eebus limits", self._repeat)

    def notify(self, state: ManagedStation) -> None:
        """See EnergyManagerLink: MPC reports the sums of all EVSEs, MGCP what is read at a site's connection."""
        powers = [each.power_w for each in state.evses]
        power_w = None if None in powers else sum(each or 0 for each in powers)
        import_wh, export_wh = sum(each.import_wh for each in state.evses), sum(each.export_wh for each in state.evses)
        self._drawn = {"power_w": power_w, "import_wh": import_wh, "export_wh": export_wh}
        values: tuple[float | None, ...] = power_w, import_wh, export_wh
        if self._site:
            read = state.connection or ConnectionReading()
            energies = read.export_wh, read.import_wh
            values = read.power_w, *energies, *read.current_a, *read.voltage_v, read.frequency_hz
        self._system.measure(values, self.ship.now())
        self.ship.pump()
        if self._drawn_at is not None and self._clock.monotonic() >= self._drawn_at:
            self._write_log("drawn", {})
            limited = any(each in _LIMITS for each in self._system.states.values())
            self._drawn_at = self._clock.monotonic() + DRAWN_S if limited else None

    async def close(self) -> None:
        await self._supervisor.close()
        if self._discovery is not None:
            await self._discovery.close()
        await self.ship.close()
        await self._disk.close()
        self._log.close()

    def processed(self) -> None:
        """See ShipListener: a changed limit applies at once."""
        if self._command() != self._said:
            self._say()
        if (kept := (self._system.written_values, self._system.held)) != self._kept:
            self._kept, self._unstored = kept, False
            self._failsafe_file.keep(files.as_text(self._system.kept(self.ship.now())))

    def peers_changed(self) -> None:
        """See ShipListener: `v2g eebus show` reads it."""
        states = {each.ski: each for each in self.ship.peers()}
        for ski, found in (self._discovery.found if self._discovery is not None else {}).items():
            known = states.get(ski, files.SeenPeer(ski=ski))
            node = found.node
            states[ski] = files.SeenPeer(
                ski=ski, id=known.id or node.id, brand=node.brand, model=node.model, state=known.state
            )
        seen = files.Seen(
            ski=self.node.ski, qr=self.node.qr(), peers=tuple(states.values()), configured=self._config.trusted
        )
        self._seen_file.keep(files.as_text(seen))

    def _not_kept(self, reason: str) -> None:
        self._unstored = True  # see `_repeat`
        self._not_stored(reason)

    def _not_stored(self, reason: str) -> None:
        self._report(Observe("power", "eebus_not_stored", {"reason": reason}))

    def _observe(self, event: Observe) -> None:
        """Report an event; commands, states and peers also go into the log, with what is drawn before and after."""
        self._report(event)
        stranger = event.name == "eebus_peer" and event.data.get("ski") not in self._trusted
        if event.name in _LOGGED and not stranger:
            self._write_log(event.name, event.data)
            if event.name == "eebus_state":
                self._drawn_at = self._clock.monotonic() + FOLLOWED_S

    def _write_log(self, name: str, data: Mapping[str, Scalar]) -> None:
        at = Moment(self._clock.monotonic(), self._clock.utc_ms()).text
        try:
            self._log.append(msgspec.json.encode({"at": at, "event": name, **data, **self._drawn}) + b"\n")
        except OSError as error:
            self._not_stored(str(error)[:200])

    def _command(self) -> EnergyCommand:
        charge_w, discharge_w = self._system.charge_w, self._system.discharge_w
        states = self._system.states.values()
        return EnergyCommand(
            limit_w=None if charge_w is None else min(charge_w, MOST_W),
            discharge_w=None if discharge_w is None else min(discharge_w, MOST_W),
            grid_critical=True if LimitState.LIMITED in states else None,
        )

    def _say(self) -> None:
        self._said = self._command()
        fallback = EnergyCommand(limit_w=self._preset.charge_w, discharge_w=self._preset.discharge_w)
        guarded = any(state is not LimitState.INIT for state in self._system.states.values())
        if guarded or self._said != fallback:  # until the first word of a box the fall-back holds anyway
            self._take(0, self._said)

    async def _repeat(self) -> None:
        while True:
            await asyncio.sleep(self._repeat_s)
            self._say()
            if self._unstored:  # the disk may have space again
                self._kept = ()
                self.processed()

    def _read_kept(self) -> KeptValues:
        try:
            return files.kept(self._config.folder)
        except StoreError as error:
            self._not_stored(str(error)[:200])
            return KeptValues()

    def _read_trusted(self) -> frozenset[str]:
        try:
            return files.trusted(self._config.folder) | set(self._config.trusted)
        except StoreError as error:
            self._not_stored(str(error)[:200])
            return frozenset(self._config.trusted)

    def _trust_now(self) -> frozenset[str]:
        if self._watch.changed():
            self._trusted = self._read_trusted()
        return self._trusted

    def _targets(self) -> dict[str, str]:
        found = self._discovery.found if self._discovery is not None else {}
        urls = {ski: f"wss://{_host(each.host)}:{each.port}{each.node.path}" for ski, each in found.items()}
        return {**urls, **self._config.boxes}


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
