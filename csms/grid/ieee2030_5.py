"""The client of an IEEE 2030.5 server: its DER controls become limits and set-points, its events are answered.

One of several nodes at a time is the client (`csms.db.leases`). If the server does not respond, the known
events continue as scheduled, and export ends after `outage_s`.
"""

import ssl
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificate

from csms.config import IEEE_2030_5, Ieee2030
from csms.grid.rules import SourceSignal
from csms.grid.setpoints import SetpointFollower, keep_polling, time_out
from csms.ocpp.base import Services
from v2g.errors import CodecError, ConfigError, TransferError, TransportError
from v2g.ieee2030_5.controls import ControlResponse, Demanded, ProgramState, demanded, responses
from v2g.ieee2030_5.resources import (
    CONTENT_TYPE,
    MAX_BYTES,
    Control,
    ControlBase,
    EndDevice,
    Page,
    Program,
    control_of,
    current_time_of,
    default_of,
    end_device_of,
    lfdi_of,
    link,
    program_of,
    read_page,
    read_resource,
    readable,
    response_xml,
    status_xml,
)
from v2g.io.http.client import HttpAnswer, request
from v2g.xml_text import Node

_ANSWER_S: Final = 20.0
_PAGE: Final = 100
_MOST_ITEMS: Final = 2_000
_MOST_PAGES: Final = 100


class DerServer:
    """One server. Every method raises TransportError or CodecError. Redirects are not followed."""

    def __init__(self, url: str, *, tls: ssl.SSLContext | None) -> None:
        parts = urlsplit(url)
        self._origin, self.path, self._tls = f"{parts.scheme}://{parts.netloc}", parts.path or "/", tls

    async def resource(self, path: str, name: str) -> Node:
        """Return a resource."""
        return read_resource(await self._get(path), name)

    async def items(self, path: str, name: str) -> tuple[Node, ...]:
        """Return the items of a list, all pages of it."""
        found: list[Node] = []
        separator = "&" if "?" in path else "?"
        for _ in range(_MOST_PAGES):
            if len(found) > _MOST_ITEMS:
                break
            page: Page = read_page(await self._get(f"{path}{separator}s={len(found)}&l={_PAGE}"), name)
            found += page.items
            if not page.items or len(found) >= page.all:
                return tuple(found)
        raise CodecError(f"{name}List at {path} has more than {_MOST_ITEMS} items or {_MOST_PAGES} pages")

    async def post(self, path: str, body: bytes) -> None:
        """Create a resource."""
        await self._exchange("POST", path, body)

    async def put(self, path: str, body: bytes) -> None:
        """Replace a resource."""
        await self._exchange("PUT", path, body)

    async def _get(self, path: str) -> bytes:
        return (await self._exchange("GET", path, None)).body

    async def _exchange(self, method: str, path: str, body: bytes | None) -> HttpAnswer:
        headers = {"Accept": CONTENT_TYPE} | ({"Content-Type": CONTENT_TYPE} if body is not None else {})
        url = f"{self._origin}{path}"
        try:
            answer = await request(
                method, url, most=MAX_BYTES, timeout_s=_ANSWER_S, body=body, headers=headers, context=self._tls
            )
        except TransferError as error:
            if error.failure == "too_large":
                raise CodecError(f"{path} has more than {MAX_BYTES} bytes") from None
            raise TransportError(
                f"{url}: {error}", hint="is the server reachable, and our certificate known?"
            ) from None
        if not answer.ok:
            raise TransportError(f"the server answers {method} {path} with HTTP status {answer.status}")
        return answer


_MOST_SKEW_S: Final = 30
_MOST_PROGRAMS: Final = 50
_MOST_CONTROLS: Final = 2_000
"""Of all programs together."""
_POLL_S: Final = 30.0
"""Time-out of all requests of a poll: while a slow server is read, known events neither begin nor end."""


class DerClient:
    """Follows the DER controls of one device at a server."""

    def __init__(
        self, services: Services, config: Ieee2030, server: DerServer, lfdi: str, *, poll_s: float = _POLL_S
    ) -> None:
        """`poll_s`: time-out of all requests of a poll, s."""
        self._services, self._config, self._server, self._lfdi = services, config, server, lfdi
        self._poll_s = poll_s
        self._setpoints = SetpointFollower(services, IEEE_2030_5)
        self._programs: tuple[ProgramState, ...] = ()
        self._states: dict[str, ControlResponse] = {}
        self._unsent: list[tuple[Control, ControlResponse, int]] = []
        self._answered_ms: int | None = None
        self._loss = ""
        self._poll_ms = 0
        self._unreadable: tuple[str, ...] = ()
        self._skewed = self._unsendable = ""
        self._reported: frozenset[str] = frozenset()

    async def run(self) -> None:
        """Request controls, and apply them, until cancelled."""
        await keep_polling(self.step, self._services.clock, self._config.poll_interval_s)

    async def step(self) -> int:
        """Request controls if it is time, apply those in force; return when to do so again (UTC ms)."""
        now_ms = self._services.clock.utc_ms()
        if now_ms >= self._poll_ms:
            self._poll_ms = now_ms + round(self._config.poll_interval_s * 1000)
            if await self._services.leads(IEEE_2030_5, self._config.poll_interval_s):
                await self._poll()
            else:
                self._answered_ms = None
        if self._answered_ms is None:
            return self._poll_ms
        return min(self._poll_ms, await self._apply(self._answered_ms))

    async def _poll(self) -> None:
        """Read the server's resources, and report the status; if that fails, the known controls stay."""
        try:
            async with time_out(self._poll_s):
                capability = await self._server.resource(self._server.path, "DeviceCapability")
                await self._check_time(link(capability, "TimeLink"))
                device = await self._device(link(capability, "EndDeviceListLink"))
                programs, problems = await self._read_programs(device)
        except (TransportError, CodecError) as error:
            if (loss := f"the server does not answer: {error}") != self._loss:
                self._services.announce("ocpp", "ieee2030_5_lost", reason=str(error)[:200])
            self._loss = loss
            self._report_problems()
            return
        events = sum(len(each.controls) for each in programs)
        if self._loss or self._answered_ms is None:
            self._services.announce("ocpp", "ieee2030_5_connected", programs=len(programs), events=events)
        self._loss = ""
        self._answered_ms = self._services.clock.utc_ms()
        self._programs, self._unreadable = programs, problems
        try:
            async with time_out(self._poll_s):
                await self._report_status(device)
            self._unsendable = ""
        except (TransportError, CodecError) as error:
            self._unsendable = str(error)

    async def _check_time(self, path: str) -> None:
        """Report a clock that differs from the server's: events start by the server's."""
        if not path:
            return
        skew_s = current_time_of(await self._server.resource(path, "Time")) - self._services.clock.utc_ms() // 1000
        self._skewed = f"the server's clock is {skew_s} s ahead of ours" if abs(skew_s) > _MOST_SKEW_S else ""

    async def _device(self, path: str) -> EndDevice:
        devices, _ = readable(await self._server.items(path, "EndDevice"), end_device_of) if path else ((), ())
        for each in devices:
            if each.lfdi == self._lfdi:
                return each
        raise TransportError(f"the server has no end device {self._lfdi}", hint="is it registered there?")

    async def _read_programs(self, device: EndDevice) -> tuple[tuple[ProgramState, ...], tuple[str, ...]]:
        """Return the programs of a device, and what is wrong with those that cannot be read.

        A program with something unreadable exports nothing where no event says more.
        """
        lists = device.assignments_path
        nodes = await self._server.items(lists, "FunctionSetAssignments") if lists else ()
        found: dict[str, ProgramState] = {}
        problems: list[str] = []
        for path in dict.fromkeys(link(each, "DERProgramListLink") for each in nodes):
            programs, wrong = readable(await self._server.items(path, "DERProgram") if path else (), program_of)
            problems += wrong
            for program in programs:
                found[program.mrid], wrong = await self._read_program(program)
                problems += wrong
                if len(found) > _MOST_PROGRAMS:
                    raise CodecError(f"the server has more than {_MOST_PROGRAMS} programs for {device.lfdi}")
                if sum(len(each.controls) for each in found.values()) + len(problems) > _MOST_CONTROLS:
                    raise CodecError(f"the server has more than {_MOST_CONTROLS} controls for {device.lfdi}")
        return tuple(found.values()), tuple(problems)

    async def _read_program(self, program: Program) -> tuple[ProgramState, tuple[str, ...]]:
        nodes = await self._server.items(program.controls_path, "DERControl") if program.controls_path else ()
        controls, problems = readable(nodes, control_of)
        default = ControlBase()
        if program.default_path:
            try:
                default = default_of(await self._server.resource(program.default_path, "DefaultDERControl"))
            except CodecError as error:
                problems = (*problems, str(error))
        if problems:
            default = msgspec.structs.replace(default, export_limit_w=0)
        return ProgramState(program=program, controls=controls, default=default), problems

    async def _report_status(self, device: EndDevice) -> None:
        if not device.ders_path:
            return
        at_s = self._services.clock.utc_ms() // 1000
        connected = bool(self._services.connections.connected())
        signal = self._services.grid.current
        may = signal is not None and (signal.site_import_limit_w > 0 or signal.export_limit_w > 0)
        for each in await self._server.items(device.ders_path, "DER"):
            path = link(each, "DERStatusLink")
            if path:
                await self._server.put(path, status_xml(connected=connected, operating=connected and may, at_s=at_s))

    async def _apply(self, answered_ms: int) -> int:
        """Apply the present controls; return when they may change (ms)."""
        now_ms = self._services.clock.utc_ms()
        found = demanded(self._programs, now_ms // 1000, device=self._lfdi, known=self._states)
        self._note_states(found, now_ms // 1000)
        stated = self._stated(found, answered_ms)
        await self._services.grid.state(stated)
        again_ms = await self._setpoints.follow(stated.setpoint_w, stated.setpoint_until_ms, now_ms)
        # send the responses; those that fail are tried again at the next step
        try:
            async with time_out(self._poll_s):
                while self._unsent and not self._loss:
                    control, status, at_s = self._unsent[0]
                    body = response_xml(mrid=control.mrid, status=status, lfdi=self._lfdi, at_s=at_s)
                    await self._server.post(control.reply_to, body)
                    del self._unsent[0]
        except (TransportError, CodecError) as error:
            self._unsendable = str(error)
        self._report_problems()
        return min(found.until_s * 1000, again_ms)

    def _stated(self, found: Demanded, answered_ms: int) -> SourceSignal:
        base, config = found.base, self._config
        off = base.energize is False or base.connect is False
        setpoint_w = None
        if base.fixed is not None and not off:
            most_w = config.max_discharge_w if base.fixed > 0 else config.max_charge_w
            setpoint_w = round(-base.fixed * most_w / 10_000)
        return SourceSignal(
            source=IEEE_2030_5,
            import_limit_w=0 if off else base.import_limit_w,
            export_limit_w=0 if off else base.export_limit_w,
            export_until_ms=answered_ms + config.outage_s * 1000,
            setpoint_w=setpoint_w,
            setpoint_until_ms=found.fixed_until_s * 1000,
            problem="; ".join(filter(None, (self._loss, *self._problems())))[:200],
        )

    def _note_states(self, found: Demanded, at_s: int) -> None:
        """Report events whose state has changed, and queue the responses that they want."""
        controls = {control.mrid: control for state in self._programs for control in state.controls}
        for mrid, state in found.states.items():
            before = self._states.get(mrid)
            if state is not before:
                self._services.announce("ocpp", "ieee2030_5_event", event=mrid, state=state.name.lower())
                self._unsent += [(controls[mrid], each, at_s) for each in responses(controls[mrid], before, state)]
        self._states = dict(found.states)

    def _problems(self) -> list[str]:
        return list(filter(None, (*self._unreadable, self._skewed, self._unsendable)))

    def _report_problems(self) -> None:
        """Report each problem once, until it is solved."""
        problems = frozenset(self._problems())
        for problem in sorted(problems - self._reported):
            self._services.announce("ocpp", "ieee2030_5_problem", reason=problem[:200])
        self._reported = problems


def tls_of(config: Ieee2030) -> ssl.SSLContext:
    """Return the settings of mutual TLS. Raises ConfigError."""
    context = ssl.create_default_context(cafile=None if config.root is None else str(config.root))
    context.check_hostname = config.check_hostname
    try:
        if config.ccm8:
            context.set_ciphers("ECDHE-ECDSA-AES128-CCM8:ECDHE+AESGCM:@SECLEVEL=0")
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(config.certificate, config.key)
    except (ssl.SSLError, OSError, ValueError) as error:
        raise ConfigError(f"grid.ieee2030_5: {error}", hint="are certificate and key those of one device?") from None
    return context


def lfdi_in(path: Path) -> str:
    """Return the identifier of the first certificate of a PEM file. Raises ConfigError."""
    try:
        certificate = load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}", hint="grid.ieee2030_5.certificate is a PEM file, leaf first") from None
    return lfdi_of(certificate.public_bytes(Encoding.DER))


async def follow_der_server(services: Services, config: Ieee2030) -> None:
    """Be a client of the configured server, until cancelled. Raises ConfigError."""
    server = DerServer(config.url, tls=tls_of(config) if config.url.startswith("https:") else None)
    await DerClient(services, config, server, config.lfdi.upper() or lfdi_in(config.certificate)).run()
