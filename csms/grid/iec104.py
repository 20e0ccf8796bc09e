"""A control centre steers the site by IEC 60870-5-104: the points of an outstation in place of registers (R208).

Powers are in kW; positive is drawn from the grid.
"""

import time
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from csms.grid.config import FormedPoint, Iec104
from v2g import typed_json
from v2g.hardware.energy_manager.commands import MOST_W, ConnectionReading, EnergyCommand, ManagedStation, Refused, Take
from v2g.iec60870.apci import LinkTimes
from v2g.iec60870.asdu import Quality
from v2g.iec60870.outstation import CommandPoint, MonitoredPoint, Outstation, OutstationSettings, ValueForm
from v2g.io.network.iec104_server import Iec104Server
from v2g.io.tls.files import server_context

_STATES: Final = ("remote", "dead_man", "overflow")
_POWERS: Final = ("connection_power", "charging", "discharging", "import_limit", "export_limit")
_COUNTERS: Final = ("imported", "exported")
_UNKNOWN: Final = Quality.INVALID | Quality.NOT_TOPICAL
_DEAD_BAND_V, _DEAD_BAND_HZ = 1.0, 0.01
_MOST_KW: Final = MOST_W / 1000
_MOST_S: Final = 86_400.0


class _Commanded(msgspec.Struct, kw_only=True):
    """What a control centre has commanded, W and s."""

    enabled: bool = True
    follows: bool = False
    limits_w: dict[str, float] = {}
    setpoint_w: float = 0.0
    valid_s: int | None = None


class Iec104Link:
    """See EnergyManagerLink: commands of a control centre, and the site's state for it."""

    def __init__(self, config: Iec104, take: Take, refused: Refused, utc_ms: Callable[[], int]) -> None:
        self._config, self._take, self._utc_ms = config, take, utc_ms
        self._addresses: dict[str, int] = msgspec.structs.asdict(config.points)
        self._names = {address: name for name, address in self._addresses.items()}
        at = self._addresses
        select = config.select_before_operate
        self._outstation = Outstation(
            OutstationSettings(
                common_address=config.common_address,
                select_s=config.select_s,
                command_age_s=config.command_age_s,
                times=LinkTimes(k=config.k, w=config.w, t1_s=config.t1_s, t2_s=config.t2_s, t3_s=config.t3_s),
                most_events=config.most_events,
                follow_clock=config.follow_clock,
                overflow=at["overflow"],
            ),
            [
                *(MonitoredPoint(address=at[name], kind="single") for name in _STATES),
                *(self._value(name, at[name], config.dead_band_kw) for name in _POWERS),
                self._value("voltage", at["voltage"], _DEAD_BAND_V),
                self._value("frequency", at["frequency"], _DEAD_BAND_HZ),
                *(MonitoredPoint(address=at[name], kind="counter", unit=config.counter_wh) for name in _COUNTERS),
                *self._of_chargers(),
            ],
            [
                CommandPoint(address=at["enable"], kind="single", select=select),
                CommandPoint(address=at["follow_setpoint"], kind="single", select=select),
                self._commanded("set_import_limit", 0, _MOST_KW, select=select),
                self._commanded("set_export_limit", 0, _MOST_KW, select=select),
                self._commanded("set_setpoint", -_MOST_KW, _MOST_KW, select=select),
                self._commanded("heartbeat", 1, _MOST_S, select=False),
            ],
            self._executed,
        )
        context = None
        if config.certificate is not None and config.key is not None:
            context = server_context(config.certificate, config.key, config.roots)
        self._server = Iec104Server(self._outstation, config.clients, refused, utc_ms, context)
        self._commands = _Commanded()

    def _value(self, name: FormedPoint, address: int, dead_band: float) -> MonitoredPoint:
        kind, unit = self._form(name)
        return MonitoredPoint(address=address, kind=kind, unit=unit, dead_band=dead_band)

    def _commanded(self, name: FormedPoint, least: float, most: float, *, select: bool) -> CommandPoint:
        kind, unit = self._form(name)
        address = self._addresses[name]
        return CommandPoint(address=address, kind=kind, unit=unit, least=least, most=most, select=select)

    def _form(self, name: FormedPoint) -> tuple[ValueForm, float]:
        form = self._config.forms.get(name)
        return ("float", 1.0) if form is None else (form.form, form.unit)

    def _of_chargers(self) -> Iterator[MonitoredPoint]:
        for number, _ in enumerate(self._config.chargers):
            connected, faulted, power = self._addresses_of(number)
            yield MonitoredPoint(address=connected, kind="single")
            yield MonitoredPoint(address=faulted, kind="single")
            yield self._value("chargers", power, self._config.dead_band_kw)

    def _addresses_of(self, number: int) -> tuple[int, int, int]:
        first = self._config.first_charger + 100 * number
        return first, first + 1, first + 2

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.port

    async def open(self) -> None:
        await self._server.open(self._config.host, self._config.port)

    async def close(self) -> None:
        await self._server.close()

    @property
    def kept(self) -> str:
        """What was commanded, for `resume`."""
        return msgspec.json.encode(self._commands).decode()

    def resume(self, kept: str) -> None:
        """Go on with what was commanded before, without carrying it out yet. Raises DecodeError."""
        self._commands = typed_json.decode(kept, _Commanded)

    def notify(self, state: ManagedStation) -> None:
        """See EnergyManagerLink; the first EVSE is the site, each further one a station of `chargers`."""
        site = state.evses[0]
        flows = (0.0, _UNKNOWN) if site.power_w is None else (site.power_w / 1000, Quality.GOOD)
        self._update("remote", float(state.heard), Quality.GOOD)
        self._update("dead_man", float(not state.heard), Quality.GOOD)
        self._update("charging", max(0.0, flows[0]), flows[1])
        self._update("discharging", max(0.0, -flows[0]), flows[1])
        self._update("import_limit", site.charge_limit_w / 1000, Quality.GOOD)
        self._update("export_limit", site.discharge_limit_w / 1000, Quality.GOOD)
        read = state.connection or ConnectionReading()
        voltages = [each for each in read.voltage_v if each is not None]
        self._measured("connection_power", None if read.power_w is None else read.power_w / 1000)
        self._measured("voltage", sum(voltages) / len(voltages) if voltages else None)
        self._measured("frequency", read.frequency_hz)
        self._measured("imported", read.import_wh)
        self._measured("exported", read.export_wh)
        for number, charger in enumerate(state.evses[1:]):
            connected, faulted, power = self._addresses_of(number)
            known = charger.status != ""
            self._set(connected, float(known), Quality.GOOD)
            self._set(faulted, float(charger.status == "Faulted"), Quality.GOOD if known else Quality.NOT_TOPICAL)
            unknown = not known or charger.power_w is None
            self._set(power, (charger.power_w or 0) / 1000, _UNKNOWN if unknown else Quality.GOOD)
        self._server.send()

    def _measured(self, name: str, value: float | None) -> None:
        self._update(name, value or 0, _UNKNOWN if value is None else Quality.GOOD)

    def _update(self, name: str, value: float, quality: Quality) -> None:
        self._set(self._addresses[name], value, quality)

    def _set(self, address: int, value: float, quality: Quality) -> None:
        self._outstation.update(address, value, time.monotonic(), self._utc_ms(), quality)

    def _executed(self, address: int, value: float) -> bool:
        said = self._commands
        match self._names[address]:
            case "enable":
                said.enabled = bool(value)
            case "follow_setpoint":
                said.follows = bool(value)
            case "set_setpoint":
                said.setpoint_w, said.follows = value * 1000, True
            case "heartbeat":
                said.valid_s = round(value)
            case name:
                said.limits_w[name] = value * 1000
        self._take(0, self._command())
        return True

    def _command(self) -> EnergyCommand:
        said = self._commands
        if not said.enabled:
            return EnergyCommand(limit_w=0.0, discharge_w=0.0, valid_s=said.valid_s)
        return EnergyCommand(
            limit_w=said.limits_w.get("set_import_limit"),
            discharge_w=said.limits_w.get("set_export_limit"),
            setpoint_w=said.setpoint_w if said.follows else None,
            valid_s=said.valid_s,
        )
