"""Clients of an IEEE 2030.5 server: DER controls become limits and set-points, their events are answered.

One client follows one device: that of all chargers, or each of an aggregator's, which share the requests to the server.
One of several nodes at a time is the client (`csms.db.leases`), and goes on with what the one before it has stored. If
the server does not respond, the known events continue as scheduled, and export ends after `outage_s`.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Final

import msgspec

from csms.dispatch import der_controls as der
from csms.grid import store as memories
from csms.grid.config import IEEE_2030_5, AggregatedDevice, Ieee2030, der_source
from csms.grid.der_server import AnswerError, DerServer, lfdi_in, tls_of
from csms.grid.der_subscriptions import DerSubscriber
from csms.grid.inverter_functions import FunctionDelivery
from csms.grid.limits import behind, least_w
from csms.grid.meters import measured
from csms.grid.rules import SourceSignal
from csms.grid.setpoints import SetpointFollower, keep_polling, time_out
from csms.grid.source import GridSource
from csms.services import Services
from csms.sites import store as site_store
from csms.transactions.powers import FRESH_MS
from v2g import typed_json
from v2g.energy.grid_signal import ALL, ConnectionPoint
from v2g.errors import CodecError, TransportError
from v2g.ieee2030_5 import reports
from v2g.ieee2030_5.controls import (
    FOREVER,
    ControlResponse,
    Demanded,
    ProgramState,
    demanded,
    gradient,
    responses,
    with_unlisted,
)
from v2g.ieee2030_5.functions import FunctionMode, InverterCurve, InverterFunction, curve_of
from v2g.ieee2030_5.resources import (
    EXTENSIONS,
    ControlBase,
    EndDevice,
    Program,
    capability_path,
    control_of,
    current_time_of,
    default_of,
    end_device_of,
    gradient_of,
    link,
    pin_of,
    post_rate_of,
    program_of,
    readable,
    sfdi_of,
)
from v2g.xml_text import Node

_MOST_SKEW_S: Final = 30
_MOST_PROGRAMS: Final = 50
_MOST_CONTROLS: Final = 2_000
"""Of all programs together; also of responses that wait."""
_POLL_S: Final = 30.0
"""Time-out of all requests of a poll: while a slow server is read, known events neither begin nor end."""
_INTERVAL_S: Final = 60.0
"""Time between polls where the server's rates say what is requested in each of them."""


_READING_S: Final = 300
_LEAST_READING_S: Final = 60
_MOST_READINGS: Final = 1_000
_SAMPLE_MS: Final = 5_000
_POST_S: Final = 300
_RAMP_MS: Final = 5_000
_WELL_KNOWN: Final = "/.well-known/csipaus"


class _Response(msgspec.Struct, frozen=True):
    """A response that waits: where to, the event, its status, since when (s, server's time)."""

    reply_to: str
    mrid: str
    status: ControlResponse
    at_s: int


class _Course(msgspec.Struct, frozen=True):
    """The way from one set-point to another (W), from a time (UTC ms) on; the last one may be a default."""

    from_w: int
    to_w: int
    from_ms: int
    length_ms: int
    default: bool = True

    def at(self, now_ms: int) -> int:
        """Return the set-point at a time."""
        done = min(1.0, (now_ms - self.from_ms) / self.length_ms) if self.length_ms > 0 else 1.0
        return round(self.from_w + (self.to_w - self.from_w) * done)


class _Memory(msgspec.Struct, kw_only=True):
    """What must survive a restart, of one device at one server. Random shifts follow from the ids of both."""

    server: str
    answered_ms: int | None = None
    offset_s: int = 0
    """How far the server's clock is ahead of ours."""
    programs: tuple[ProgramState, ...] = ()
    states: dict[str, ControlResponse] = {}
    unsent: list[_Response] = []
    device_path: str = ""
    """Where the device is that has registered itself."""
    connection_point: str = ""
    """Where it was announced, and the connection point: a device that is deleted and made again has another path."""
    mirrors: dict[reports.Source, str] = {}
    """Where readings are sent to."""
    mirror_interval_s: int = _READING_S
    means: list[reports.MeanReadings] = []
    """Readings that wait; those without a mirror, too."""
    logged_alarms: int = 0
    """The alarms of which the server knows, as bits."""
    log_number: int = 0


class DerClient:
    """Follows the DER controls of one device at a server."""

    def __init__(
        self,
        services: Services,
        config: Ieee2030,
        server: DerServer,
        lfdi: str,
        *,
        point: ConnectionPoint | None = None,
        poll_s: float = _POLL_S,
    ) -> None:
        """`point`: where the chargers of an aggregator's device are. `poll_s`: time-out of all requests of a poll."""
        self._services, self._config, self._server, self._lfdi = services, config, server, lfdi
        self._poll_s, self._point = poll_s, point
        self._source = IEEE_2030_5 if point is None else der_source(lfdi)
        self._woken = asyncio.Event()
        self._interval_s = config.poll_interval_s or _INTERVAL_S
        self._setpoints = SetpointFollower(services, self._source, point)
        self.functions: Final = FunctionDelivery(services, point)
        self._memory = _Memory(server=f"{config.url} {lfdi}")
        self._saved = b""
        self._loaded = self._connected = False
        self._loss = ""
        self._poll_ms = self._send_ms = 0
        self._unreadable: tuple[str, ...] = ()
        self._skewed = self._unsendable = self._unreported = ""
        self._named_skew_s = 0
        self._capability_path = "" if config.profile == "csip-aus" else server.path
        self._rated: tuple[str, ...] = ()
        self._condition: tuple[bool, bool, int] | None = None
        self._status_ms = self._mirror_ms = 0
        self._samples: list[tuple[int, Mapping[str, float]]] = []
        self._since_s = 0
        self._course: _Course | None = None
        self._reported: frozenset[str] = frozenset()

    async def run(self) -> None:
        """Request controls, and apply them, until cancelled."""
        await keep_polling(self.step, self._services.clock, self._interval_s, self._woken)

    def poll_now(self) -> None:
        """Request what may have changed at once."""
        self._poll_ms = 0
        self._woken.set()

    async def step(self) -> int:
        """Request controls if it is time, apply those in force; return when to do so again (UTC ms)."""
        now_ms, interval_ms = self._services.clock.utc_ms(), round(self._interval_s * 1000)
        answered_ms = self._memory.answered_ms
        if now_ms < self._poll_ms - interval_ms:  # the clock was set back
            self._poll_ms, self._memory.answered_ms = 0, answered_ms and min(answered_ms, now_ms)
        if now_ms >= self._poll_ms:
            self._poll_ms = now_ms + interval_ms
            if await self._services.leads(IEEE_2030_5, self._interval_s):
                if not self._loaded:
                    await self._load()
                await self._poll()
            else:
                self._loaded = self._connected = False
                self._server.forget()  # the node that follows it now may have changed what is there
                self.functions.want(None)
        if not self._loaded or self._memory.answered_ms is None:
            return self._poll_ms
        again_ms = min(self._poll_ms, await self._apply(self._memory.answered_ms))
        return min(again_ms, await self._meter(now_ms)) if self._config.metering else again_ms

    async def _load(self) -> None:
        """Go on with what this node, or the one before it, knew."""
        stored = await self._services.store.read(memories.memory_of, self._source)
        memory = _Memory(server=self._memory.server)
        if stored:
            try:
                found = typed_json.decode(stored, _Memory)
                memory = found if found.server == memory.server else memory
            except msgspec.DecodeError as error:  # of another version
                self._services.announce("ocpp", "ieee2030_5_problem", reason=f"its stored state: {error}"[:200])
        self._memory, self._loaded = memory, True

    async def _save(self) -> None:
        document = msgspec.json.encode(self._memory)
        if document != self._saved:
            await self._services.store.run(memories.save_memory, self._source, document.decode())
            self._saved = document

    async def _poll(self) -> None:
        """Read the server's resources, and report the status; if that fails, the known controls stay."""
        server, memory = self._server, self._memory
        server.begin(self._services.clock.utc_ms())
        try:
            async with time_out(self._poll_s):
                if not self._capability_path:
                    server.path = self._capability_path = await self._discovered()
                capability = await server.resource(self._capability_path, "DeviceCapability")
                await self._read_time(link(capability, "TimeLink"))
                device = await self._device(link(capability, "EndDeviceListLink"))
                await self._check_pin(device)
                programs, problems, whole = await self._read_programs(device)
        except (TransportError, CodecError) as error:
            instead = f"known events go on, and export ends {self._config.outage_s} s after its last answer"
            if (loss := f"the server does not answer; {instead}: {error}") != self._loss:
                self._services.announce("ocpp", "ieee2030_5_lost", reason=str(error)[:200])
            if self._point is None and self._connected:  # what others of an aggregator have read stays
                server.forget()  # once: one that is slow is read in several polls
            self._loss, self._connected, self._rated = loss, False, ()
            self._report_problems()
            return
        events = sum(len(each.controls) for each in programs)
        if not self._connected:
            self._services.announce("ocpp", "ieee2030_5_connected", programs=len(programs), events=events)
        self._loss, self._connected = "", True
        if whole or memory.answered_ms is None:
            memory.answered_ms = (
                server.answered_ms if self._config.poll_interval_s else max(server.now_ms, server.due_ms)
            )
        kept = with_unlisted(programs, memory.programs, memory.states)
        memory.programs = kept if sum(len(each.controls) for each in kept) <= 2 * _MOST_CONTROLS else programs
        self._unreadable = problems
        await self._report(device, link(capability, "MirrorUsagePointListLink"))
        await self._save()

    async def _discovered(self) -> str:
        """Return where a server of Australia says that its DeviceCapability is; older ones do not say."""
        try:
            return capability_path(await self._server.read(_WELL_KNOWN))
        except AnswerError as error:
            if not error.final:
                raise
            return self._server.path

    async def _read_time(self, path: str) -> None:
        """Note how far the server's clock is ahead: events begin and end by it."""
        if not path:
            return
        try:
            if not self._server.due(path):
                return
            node = await self._server.resource(path, "Time")
            skew_s = current_time_of(node) - self._services.clock.utc_ms() // 1000
        except (AnswerError, CodecError) as error:
            self._skewed, self._named_skew_s = f"the server's time: {error}", 0
            return
        self._memory.offset_s = skew_s
        if abs(skew_s) <= _MOST_SKEW_S:
            self._skewed, self._named_skew_s = "", 0
        elif abs(skew_s - self._named_skew_s) > _MOST_SKEW_S:  # by less it varies with each answer
            ahead = f"the server's clock is {abs(skew_s)} s {'ahead of' if skew_s > 0 else 'behind'} ours"
            self._skewed, self._named_skew_s = f"{ahead}: its events follow it", skew_s

    async def _device(self, path: str) -> EndDevice:
        devices, _ = readable(await self._server.items(path, "EndDevice"), end_device_of) if path else ((), ())
        for each in devices:
            if each.lfdi == self._lfdi or (not each.lfdi and each.sfdi == sfdi_of(self._lfdi)):
                return each
        unknown = TransportError(f"the server has no end device {self._lfdi}", hint="is it registered there?")
        if self._config.profile != "csip-aus" or not path:
            raise unknown
        memory, server = self._memory, self._server
        if not memory.device_path:
            body = reports.end_device_xml(self._lfdi, self._services.clock.utc_ms() // 1000 + memory.offset_s)
            try:
                memory.device_path = await server.post(path, body)
                memory.connection_point = ""  # a server that has lost the device has lost where it is, too
            except AnswerError as error:
                raise TransportError(f"{unknown}, and it does not register: {error}", hint=unknown.hint) from None
            await self._save()
        try:
            found = end_device_of(await server.resource(memory.device_path, "EndDevice"))
        except AnswerError as error:
            memory.device_path = "" if error.final else memory.device_path
            raise
        if found.lfdi != self._lfdi:
            memory.device_path = ""
            raise unknown
        return found

    async def _check_pin(self, device: EndDevice) -> None:
        """Raise TransportError for a server with another PIN, and obey nothing of it; nor does any export go on."""
        if self._config.pin is None or not device.registration_path:
            return
        try:
            pin = pin_of(await self._server.resource(device.registration_path, "Registration"))
        except AnswerError as error:
            if not error.final:
                raise
            return
        if pin != self._config.pin:
            self._memory.programs = ()
            if self._memory.answered_ms is not None:
                self._memory.answered_ms = 0
            raise TransportError("its registration of this device has another PIN than grid.ieee2030_5.pin")

    async def _read_programs(self, device: EndDevice) -> tuple[tuple[ProgramState, ...], tuple[str, ...], bool]:
        """Return the programs of a device, what is wrong with those that cannot be read, and whether all were read.

        What cannot be read is as it was before; a program with something unreadable that was not known exports nothing
        where no event says more.
        """
        known = {each.program.mrid: each for each in self._memory.programs}
        found: dict[str, ProgramState] = {}
        problems: list[str] = []

        async def listed(path: str, name: str, rate_of: str = "") -> tuple[Node, ...] | None:
            try:
                return await self._server.items(path, name, rate_of=rate_of) if path else ()
            except (AnswerError, CodecError) as error:
                problems.append(str(error))
                return None

        lists = device.assignments_path if device.enabled else ""
        nodes = await listed(lists, "FunctionSetAssignments")
        paths, wrong = readable(nodes or (), lambda each: link(each, "DERProgramListLink"))
        problems += wrong
        gaps = nodes is None or bool(wrong)
        whole = not gaps
        for path in dict.fromkeys(paths):
            nodes = await listed(path, "DERProgram")
            programs, wrong = readable(nodes or (), program_of)
            problems += wrong
            gaps |= nodes is None or bool(wrong)
            whole &= nodes is not None
            for program in programs:
                found[program.mrid], wrong, read = await self._read_program(program, known.get(program.mrid), path)
                problems += wrong
                whole &= read
                if len(found) > _MOST_PROGRAMS:
                    raise CodecError(f"the server has more than {_MOST_PROGRAMS} programs for {device.lfdi}")
                if sum(len(each.controls) for each in found.values()) + len(problems) > _MOST_CONTROLS:
                    raise CodecError(f"the server has more than {_MOST_CONTROLS} controls for {device.lfdi}")
        states = {**known, **found} if gaps else found
        return tuple(states.values())[-_MOST_PROGRAMS:], tuple(problems), whole

    async def _read_program(
        self, program: Program, known: ProgramState | None, rate_of: str
    ) -> tuple[ProgramState, tuple[str, ...], bool]:
        """Return a program, what is wrong with it, and whether it was read. What the server refuses is not there."""
        controls, default = ((), ControlBase()) if known is None else (known.controls, known.default)
        slope = 0 if known is None else known.gradient
        problems: tuple[str, ...] = ()
        whole, doubtful = True, False
        try:
            path = program.controls_path
            nodes = await self._server.items(path, "DERControl", rate_of=rate_of) if path else ()
            listed, wrong = readable(nodes, lambda node: control_of(node, self._config.functions))
            listed = tuple(each for each in listed if each.for_us)
            earlier = {each.mrid: each.base.functions for each in controls}
            curves = [earlier.get(each.mrid, {}) for each in listed]
            bases, unusable, whole = await self._with_curves([each.base for each in listed], curves, rate_of)
            controls = tuple(
                msgspec.structs.replace(each, base=base)
                for each, base in zip(listed, bases, strict=True)
                if whole or base.modes or not each.base.curves  # one of which nothing is known yet waits
            )
            problems, doubtful = (*wrong, *unusable), bool(wrong) or (not whole and known is None)
        except (AnswerError, CodecError) as error:
            problems = (str(error),)
            whole = isinstance(error, AnswerError) and error.final
            doubtful = not whole and known is None
        try:
            node = None
            if program.default_path:
                node = await self._server.resource(program.default_path, "DefaultDERControl", rate_of=rate_of)
            base, new_slope = ControlBase(), 0
            if node is not None:
                base, new_slope = default_of(node, self._config.functions), gradient_of(node)
            (default,), unusable, read = await self._with_curves([base], [default.functions], rate_of)
            slope, problems, whole = new_slope, (*problems, *unusable), whole and read
            doubtful = doubtful or (not read and known is None)
        except (AnswerError, CodecError) as error:
            if isinstance(error, AnswerError) and error.final:
                default, slope = ControlBase(), 0
            else:
                whole, doubtful = False, doubtful or known is None
            if not isinstance(error, AnswerError) or error.status not in (HTTPStatus.NOT_FOUND, HTTPStatus.NO_CONTENT):
                problems = (*problems, str(error))
        if doubtful:
            default = msgspec.structs.replace(default, export_limit_w=0)
        return ProgramState(program=program, controls=controls, default=default, gradient=slope), problems, whole

    async def _with_curves(
        self, bases: Sequence[ControlBase], known: Sequence[Mapping[FunctionMode, InverterFunction]], rate_of: str
    ) -> tuple[tuple[ControlBase, ...], tuple[str, ...], bool]:
        """Return demands with the curves that they link to, what is wrong with those that cannot be used, and whether
        all were read; one that cannot be read now is as it is known."""
        read: dict[tuple[FunctionMode, str], InverterCurve | None] = {}
        problems = []
        for key in dict.fromkeys(each for base in bases for each in base.curves.items()):
            try:
                read[key] = curve_of(await self._server.resource(key[1], "DERCurve", rate_of=rate_of), key[0])
            except (AnswerError, CodecError) as error:
                if isinstance(error, CodecError) or error.final:
                    read[key] = None
                problems.append(f"opMod{key[0]}: {error}")
        found = []
        for base, before in zip(bases, known, strict=True):
            curves = {key[0]: read[key] if key in read else before.get(key[0]) for key in base.curves.items()}
            there = {mode: curve for mode, curve in curves.items() if curve is not None}
            found.append(msgspec.structs.replace(base, functions={**base.functions, **there}, curves={}))
        return tuple(found), tuple(problems), all(key in read for base in bases for key in base.curves.items())

    async def _report(self, device: EndDevice, mirrors_path: str) -> None:
        """Send connection point, ratings, status and what readings are of; what is refused hinders nothing else."""
        problems = []
        # alarms of the grid that inverters have, as bits of alarmStatus
        behind = await self._behind()
        found = {
            fault
            for station_id, fault in await self._services.store.read(der.active_alarms)
            if behind(station_id, None)
        }
        alarms = sum(1 << bit for bit, name in enumerate(reports.ALARMS) if name in found)
        works = [self._announce_point(device), self._report_ders(device, alarms), self._log_alarms(device, alarms)]
        if self._config.metering and mirrors_path:
            works.append(self._mirror(mirrors_path))
        for work in works:
            try:
                async with time_out(self._poll_s):
                    await work
            except (TransportError, CodecError) as error:
                problems.append(str(error))
        self._unreported = "; ".join(problems)

    async def _announce_point(self, device: EndDevice) -> None:
        point, path = self._config.connection_point, device.connection_point_path
        said = f"{path} {point}"
        if not point or not path or self._memory.connection_point == said:
            return
        await self._server.put(path, reports.connection_point_xml(point, device.extension))
        self._memory.connection_point = said
        self._server.forget()  # the device may have other programs there

    async def _log_alarms(self, device: EndDevice, alarms: int) -> None:
        """Send an event for each alarm that has begun or ended; one that is not taken is sent again."""
        memory, server = self._memory, self._server
        if not device.log_path:
            return
        for code in reports.alarm_events(memory.logged_alarms, alarms):
            at_s = server.now_ms // 1000 + memory.offset_s
            await server.post(device.log_path, reports.log_event_xml(code, memory.log_number, at_s))
            memory.logged_alarms ^= 1 << code // 2
            memory.log_number += 1

    async def _behind(self) -> Callable[[str, int | None], bool]:
        """Return which stations, or EVSEs of them, this device stands for."""
        return behind(await self._services.store.read(site_store.all_sites), self._point or ALL)

    async def _report_ders(self, device: EndDevice, alarms: int) -> None:
        server, config = self._server, self._config
        ders = await server.items(device.ders_path, "DER") if device.ders_path else ()
        at_s = server.now_ms // 1000 + self._memory.offset_s
        extension = "" if config.profile != "csip-aus" else device.extension or EXTENSIONS[-1]
        rating = reports.Rating(
            charge_w=config.max_charge_w, discharge_w=config.max_discharge_w, functions=config.functions
        )
        slope = gradient(self._memory.programs)
        rated = (extension, str(slope), *(each.get("href") or "" for each in ders))
        if rated != self._rated and (rating.charge_w or rating.discharge_w):
            for each in ders:
                if path := link(each, "DERCapabilityLink"):
                    await server.put(path, reports.capability_xml(rating, extension))
                if path := link(each, "DERSettingsLink"):
                    await server.put(path, reports.settings_xml(rating, at_s, extension, slope))
        self._rated = rated
        behind = await self._behind()
        connected = any(behind(each, None) for each in self._services.connections.connected())
        signal, point = self._services[GridSource].current, self._point
        import_w = export_w = 0
        if signal is not None:
            own = () if point is None else signal.limits
            import_w = min(signal.site_import_limit_w, least_w(own, "import", point or ALL))
            export_w = min(signal.export_limit_w, least_w(own, "export", point or ALL))
        state = connected, connected and (import_w > 0 or export_w > 0), alarms
        if state == self._condition and server.now_ms < self._status_ms:
            return
        condition = reports.Condition(
            connected=connected,
            operating=state[1],
            power_w=await self._power_w(),
            available_w=min(export_w, config.max_discharge_w) if connected else 0,
            alarms=alarms,
        )
        for each in ders:
            if path := link(each, "DERStatusLink"):
                await server.put(path, reports.status_xml(condition, at_s))
            if path := link(each, "DERAvailabilityLink"):
                await server.put(path, reports.availability_xml(condition, at_s))
        self._condition, self._status_ms = state, server.now_ms + (device.post_rate_s or _POST_S) * 1000

    async def _power_w(self) -> int | None:
        """Return the power of all vehicles of the device, W; None if that of one is unknown."""
        power_w = (await self._measured()).get("der power")
        return None if power_w is None else round(-power_w)

    async def _measured(self) -> dict[str, float]:
        point, since_ms = self._point or ALL, self._services.clock.utc_ms() - FRESH_MS
        grid = self._point or self._services.config.grid.connection_point
        return await self._services.store.read(measured, point, grid, since_ms)

    async def _mirror(self, mirrors_path: str) -> None:
        """Announce what readings are of, once, and take over how often the server wants them: a site's if there is a
        meter at its grid connection."""
        memory, server = self._memory, self._server
        metered = [*(values for _, values in self._samples), *(each.values for each in memory.means)]
        sources = {reports.READING_TYPES[name].source for values in metered for name in values}
        for source in sorted({"der", *sources}):
            if not memory.mirrors.get(source):
                body = reports.mirror_xml(self._lfdi, source, memory.mirror_interval_s)
                memory.mirrors[source] = await server.post(mirrors_path, body)
            try:
                wanted_s = post_rate_of(await server.resource(memory.mirrors[source], "MirrorUsagePoint"))
            except AnswerError as error:
                if error.status == HTTPStatus.NOT_FOUND:
                    del memory.mirrors[source]
                continue
            every_s = max(_LEAST_READING_S, min(wanted_s or _READING_S, 3600))
            memory.mirror_interval_s = every_s if source == "der" else min(memory.mirror_interval_s, every_s)

    async def _meter(self, now_ms: int) -> int:
        """Take samples, and send the means of each interval at its end; return when to do so again."""
        memory = self._memory
        at_s, every_s = now_ms // 1000 + memory.offset_s, memory.mirror_interval_s
        begin_s = at_s - at_s % every_s
        if self._since_s and begin_s > self._since_s:
            means = reports.mean_readings(self._samples, self._since_s, min(begin_s, self._since_s + every_s))
            if means is not None:
                memory.means = [*memory.means, means][-_MOST_READINGS:]
            self._samples.clear()
            self._since_s = begin_s
        if not self._since_s:  # an interval that has begun before is not reported
            self._since_s = begin_s if begin_s == at_s else begin_s + every_s
        self._samples.append((at_s, await self._measured()))
        if memory.means and memory.mirrors and not self._loss and now_ms >= self._mirror_ms:
            self._server.now_ms, self._unsendable = now_ms, ""
            waiting = [
                (each, name, path)
                for each in memory.means
                for name in each.values
                if (path := memory.mirrors.get(reports.READING_TYPES[name].source))
            ]
            try:
                async with time_out(self._poll_s):
                    for each, name, path in waiting:
                        try:
                            await self._server.post(path, reports.reading_xml(self._lfdi, each, name))
                        except AnswerError as error:
                            if not error.final or error.status == HTTPStatus.NOT_FOUND:
                                raise
                            self._services.announce("ocpp", "ieee2030_5_problem", reason=f"a reading: {error}"[:200])
                        del each.values[name]
            except (TransportError, CodecError) as error:
                self._unsendable = str(error)
                self._mirror_ms = self._poll_ms
            memory.means = [each for each in memory.means if each.values]
        await self._save()
        return min(now_ms + _SAMPLE_MS, (self._since_s + every_s - memory.offset_s) * 1000)

    async def _apply(self, answered_ms: int) -> int:
        """Apply the present controls; return when they may change (ms)."""
        now_ms, offset_s = self._services.clock.utc_ms(), self._memory.offset_s
        at_s = now_ms // 1000 + offset_s
        found = demanded(self._memory.programs, at_s, device=self._lfdi, known=self._memory.states)
        # Report events whose state has changed, and queue the responses that they want
        memory = self._memory
        controls = {control.mrid: control for state in memory.programs for control in state.controls}
        for mrid, state in found.states.items():
            before = memory.states.get(mrid)
            if state is not before:
                data = {"event": mrid, "state": state.name.lower()}
                self._services.announce("ocpp", "ieee2030_5_event", **data)
                memory.unsent += [
                    _Response(controls[mrid].reply_to, mrid, each, at_s)
                    for each in responses(controls[mrid], before, state, self._config.profile)
                ]
        unlisted = [(mrid, state) for mrid, state in memory.states.items() if mrid not in found.states]
        memory.states = dict(unlisted[-_MOST_CONTROLS:]) | dict(found.states)
        del memory.unsent[:-_MOST_CONTROLS]
        stated = self._stated(found, answered_ms)
        setpoint_w, ramp_ms = await self._ramped(found, stated.setpoint_w, now_ms)
        stated = msgspec.structs.replace(stated, setpoint_w=setpoint_w)
        self.functions.want(found.base.functions)
        await self._services[GridSource].state(stated)
        await self._save()
        again_ms = await self._setpoints.follow(stated.setpoint_w, stated.setpoint_until_ms, now_ms)
        await self._respond(now_ms)
        self._report_problems()
        return min((found.until_s - offset_s) * 1000, again_ms, ramp_ms)

    async def _ramped(self, found: Demanded, target_w: int | None, now_ms: int) -> tuple[int | None, int]:
        """Return the set-point on its way to a new one, and when it is another (UTC ms). Limits apply at once."""
        if target_w is None:
            self._course = None
            return None, FOREVER * 1000
        course, config = self._course, self._config
        if course is None or course.to_w != target_w:
            from_w = course.at(now_ms) if course is not None else await self._power_w()
            rating_w = max(1, config.max_discharge_w or config.max_charge_w)
            change = 0 if from_w is None else abs(target_w - from_w) / rating_w
            default = course is None or course.default
            length_s = found.ramp_s(change, gradient(self._memory.programs), from_default=default)
            course = _Course(target_w if from_w is None else from_w, target_w, now_ms, round(length_s * 1000))
        self._course = msgspec.structs.replace(course, default=found.setpoint not in found.events)
        return course.at(now_ms), now_ms + _RAMP_MS if now_ms < course.from_ms + course.length_ms else FOREVER * 1000

    async def _respond(self, now_ms: int) -> None:
        """Send the responses that wait, those of an event in order; one that the server refuses is given up."""
        memory = self._memory
        if not memory.unsent or self._loss or now_ms < self._send_ms:
            return
        self._server.now_ms, self._unsendable = now_ms, ""
        waiting: set[str] = set()
        try:
            async with time_out(self._poll_s):
                for each in tuple(memory.unsent):
                    if each.mrid in waiting:
                        continue
                    try:
                        body = reports.response_xml(mrid=each.mrid, status=each.status, lfdi=self._lfdi, at_s=each.at_s)
                        await self._server.post(each.reply_to, body)
                    except (AnswerError, CodecError) as error:
                        reason = f"response {each.status} for event {each.mrid}: {error}"
                        if isinstance(error, AnswerError) and not error.final:
                            self._unsendable = reason
                            waiting.add(each.mrid)
                            continue
                        self._services.announce("ocpp", "ieee2030_5_problem", reason=reason[:200])
                    memory.unsent.remove(each)
        except TransportError as error:
            self._unsendable = str(error)
        self._send_ms = self._poll_ms if memory.unsent else 0
        await self._save()

    def _stated(self, found: Demanded, answered_ms: int) -> SourceSignal:
        base, config = found.base, self._config
        off = base.energize is False or base.connect is False
        share_w = None if base.most_generation is None else base.most_generation * config.max_discharge_w // 10_000
        mode, setpoint_w = found.setpoint, None
        if mode == "fixed":
            most_w = config.max_discharge_w if (base.fixed or 0) > 0 else config.max_charge_w
            setpoint_w = round(-(base.fixed or 0) * most_w / 10_000)
        elif mode:
            setpoint_w = -int(getattr(base, mode))
        return SourceSignal(
            source=self._source,
            connection_point=self._point,
            import_limit_w=0 if off else _least(base.import_limit_w, base.load_limit_w),
            export_limit_w=0 if off else _least(base.export_limit_w, base.generation_limit_w, share_w),
            export_until_ms=answered_ms + config.outage_s * 1000,
            setpoint_w=None if off else setpoint_w,
            setpoint_until_ms=(found.ends.get(mode, FOREVER) - self._memory.offset_s) * 1000,
            problem="; ".join(filter(None, (self._loss, *self._problems())))[:200],
        )

    def _problems(self) -> list[str]:
        return list(filter(None, (*self._unreadable, self._unsendable, self._unreported, *self.functions.problems)))

    def _report_problems(self) -> None:
        """Report each problem once, until it is solved."""
        problems = frozenset(filter(None, (*self._problems(), self._skewed)))
        for problem in sorted(problems - self._reported):
            self._services.announce("ocpp", "ieee2030_5_problem", reason=problem[:200])
        self._reported = problems


def _least(*limits_w: int | None) -> int | None:
    return min((each for each in limits_w if each is not None), default=None)


async def follow_der_server(services: Services, config: Ieee2030) -> None:
    """Be a client of the configured server, until cancelled. Raises ConfigError."""
    tls = tls_of(config) if config.url.startswith("https:") else None
    server = DerServer(config.url, tls=tls, rates=config.poll_interval_s is None)
    own = config.lfdi.upper() or lfdi_in(config.certificate)
    clients = [
        DerClient(services, of_device(config, each), server, each.lfdi.upper(), point=each.chargers)
        for each in config.devices
    ] or [DerClient(services, config, server, own)]
    async with asyncio.TaskGroup() as tasks:
        for client in clients:
            tasks.create_task(client.run())
            tasks.create_task(client.functions.run())
        if config.notifications is not None:
            subscriber = DerSubscriber(services, config, server, own, clients)
            tasks.create_task(subscriber.run())


def of_device(config: Ieee2030, device: AggregatedDevice) -> Ieee2030:
    """Return the configuration by which one device of an aggregator is followed."""
    own = msgspec.structs.asdict(device)
    del own["chargers"]
    return msgspec.structs.replace(config, devices=(), **own)
