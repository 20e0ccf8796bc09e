"""Runs the cases of `v2g_testkit.cases` against a charger on the link: SDP, TLS, and sessions.

Probes before a session are SDP datagrams, and invalid handshakes. These use the standard library's TLS, which allows
what vehicles must not do: older versions, other curves, no certificate, no OCSP request. Only
SupportedAppProtocolReq is sent on these connections.
"""

import asyncio
import contextlib
import os
import socket
import ssl
import tempfile
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from v2g import exi
from v2g.errors import CodecError, TlsError, TransportError, V2GError
from v2g.iec61851.pilot import PilotState
from v2g.io.network import plain_tcp
from v2g.io.network.interfaces import has_multicast
from v2g.io.network.sdp import SdpAnswer, discover
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.runner import Outcome, Runner
from v2g.io.runtime.supervision import child
from v2g.io.runtime.trace import Trace
from v2g.io.tls.client import connect
from v2g.io.tls.endpoint import INTEROP, ISO15118_20, Endpoint, TlsIdentity, TlsProfile
from v2g.io.tls.stream import HANDSHAKE_SECONDS, TlsStream
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.engine import sdp
from v2g.iso15118.engine.app_protocol import SupportedAppProtocolReq
from v2g.iso15118.engine.schemas import APP_PROTOCOL
from v2g.iso15118.engine.sdp import Security
from v2g.iso15118.engine.session import Command, Fact
from v2g.iso15118.engine.v2gtp import Framer, PayloadType, frame
from v2g.iso15118.trace import Line
from v2g.observe import Observe
from v2g.pki.credentials import Credentials, save_bundle
from v2g.pki.profile import Role
from v2g_testkit.cases.case import Case, Expect, Result, Script, Seen, judge
from v2g_testkit.cases.declaration import ChargerDeclaration
from v2g_testkit.cases.editions import CHARGERS, Edition
from v2g_testkit.cases.known import Kit
from v2g_testkit.cases.requests import NAMESPACES, protocol
from v2g_testkit.cases.scripted_vehicle import EndAtCharger, PilotShown, ShowPilot
from v2g_testkit.cases.secc_probes import DATAGRAMS, REFUSES, SILENT, TALKS, sdp_facts

PATIENCE_S: Final = 15.0
"""Time for a charger that is still busy with the previous session to accept a connection, s."""

_AGAIN_S: Final = 0.5

LATEST_S: Final = 1.0
"""Maximum wait for an answer to the last request of SDP, s."""

DEAD_S: Final = 0.5
"""Maximum search time for a charger that was absent in the previous case, s."""


class Bench(msgspec.Struct, frozen=True, kw_only=True):
    """The charger's location, and the vehicle's credentials. `identities` are TLS certificates by name."""

    interface: str
    family: Family
    edition: Edition = Edition.ISO20
    identities: Mapping[str, Credentials]
    anchors: tuple[bytes, ...]
    kit: Kit = Kit()
    declared: ChargerDeclaration = ChargerDeclaration()
    sdp_port: int = sdp.PORT
    profile: TlsProfile = ISO15118_20
    without_tls: bool = False
    pause_s: float = 0.2
    """Pause between two connections."""
    setup_s: float = sdp.SETUP_S
    """Maximum search time for the charger."""


Stream = TlsStream | plain_tcp.PlainStream

Pilot = Callable[[PilotState], Awaitable[None]]
"""Sets the control pilot, or waits until the operator has set it."""


Stop = Callable[[], Coroutine[object, object, None]]
"""Ends the session at the charger, as by its operator."""


MOST_KEPT: Final = 50_000_000
"""Octets of a conversation that are kept, about: what follows is judged, but not in the report."""

_LINE: Final = 1000
"""Octets of a line without its message, about."""


class Memory:
    """Lines of a conversation, from its beginning to `MOST_KEPT`."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self._left = MOST_KEPT

    def write(self, line: Line) -> None:
        """See `v2g.io.runtime.trace.TraceLines`."""
        self._left -= _LINE + len(line.exi)
        if self._left >= 0:
            self.lines.append(line)

    def close(self) -> None:
        """See `v2g.io.runtime.trace.TraceLines`."""


_LOOK_S: Final = 0.02
"""How often the tester looks whether it is late itself, s."""


async def run_watched(runner: Runner, seen: Seen) -> None:
    """Run a conversation, and note by how much the event loop was late: no device is blamed for that."""

    async def look() -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _LOOK_S
            await asyncio.sleep(_LOOK_S)
            seen.late_s = max(seen.late_s, loop.time() - due)

    watch = child(look())
    try:
        await runner.run()
    finally:
        watch.cancel()


class SeccTester:
    """Runs cases in sequence; `lines` are the messages of the latest one."""

    def __init__(self, bench: Bench, clock: Clock, *, pilot: Pilot, stop: Stop | None = None) -> None:
        self._bench, self._clock, self._pilot, self._stop = bench, clock, pilot, stop
        self._played: dict[Script, tuple[Seen, list[Line]]] = {}
        self._silent = self._refusing = False
        """Whether the charger failed to answer or to accept a connection in the latest attempt."""
        self.lines: list[Line] = []
        self.device = ""
        """Location of the device under test."""

    async def find(self) -> SdpAnswer:
        """Return the charger's address. Raises TimeoutExpired, TransportError."""
        bench = self._bench
        security = Security.NONE if bench.without_tls else Security.TLS
        within_s = min(DEAD_S, bench.setup_s) if self._silent else bench.setup_s
        try:
            found = await discover(bench.interface, port=bench.sdp_port, security=security, within_s=within_s)
        except V2GError:
            self._silent = True
            raise
        self._silent = False
        self.device = f"[{found.host}]:{found.port}"
        return found

    async def answers(self) -> bool:
        """Return whether a charger answers SDP, however. Raises TransportError."""
        form = "without-tls" if self._bench.without_tls else "tls"
        return SILENT not in await ask_sdp(self._bench.interface, self._bench.sdp_port, form)

    async def run(self, case: Case) -> Result:
        """Run a case and evaluate it."""
        began, self.lines = self._clock.monotonic(), []
        declared = self._bench.declared
        if absent := case.does_not_apply(declared, tls=not self._bench.without_tls):
            seen = [Seen(absent=absent)]
        else:
            seen = [await self._probe(case)] if case.probe else await self._scripts(case)
        verdict, found = judge(case.for_device(declared), seen)
        seconds = round(self._clock.monotonic() - began, 3)
        return Result(case=case.id, verdict=verdict, found=found, seconds=seconds)

    async def _probe(self, case: Case) -> Seen:
        kind, _, form = case.probe.partition(":")
        bench = self._bench
        if kind == "sdp":
            return Seen(facts=await ask_sdp(bench.interface, bench.sdp_port, form))
        if bench.without_tls:
            return Seen(absent="the charger is tested without TLS")
        name = {"expired-vehicle": "expired", "unknown-vehicle": "unknown-root"}.get(form, "vehicle")
        own = bench.identities.get(name)
        if own is None:
            return Seen(absent=f"no vehicle certificate {name!r} given")
        try:
            found = await self.find()
            if form in ("good", "staple"):
                return await self._handshake(found)
            interop = bench.profile.interop
            facts = await shake(found.host, found.port, form, own, bench.family, interop=interop)
            return Seen(facts=facts)
        except V2GError as error:
            return Seen(reached=False, trouble=str(error))

    async def _handshake(self, found: SdpAnswer) -> Seen:
        """Connect correctly, negotiate the protocol, and return facts about the connection."""
        bench = self._bench
        try:
            stream = await self._connect("vehicle", found)
        except V2GError as error:
            return Seen(facts=[_unconnected(error)])
        try:
            assert isinstance(stream, TlsStream)
            facts = [stream.version, f"group {stream.group}", f"cipher {stream.cipher}"]
            if stream.ocsp_response:
                facts.append("staples an OCSP answer")
            return Seen(facts=[*facts, *await negotiate(stream, bench.family)])
        finally:
            await stream.close()

    async def _scripts(self, case: Case) -> list[Seen]:
        memory, seen = CHARGERS[self._bench.edition].known(self._bench.family), []
        for script in case.scripts:
            # A complete session is evaluated by many cases, and run once.
            alike = msgspec.structs.replace(script, expect=Expect(closes=script.expect.closes))
            if len(case.scripts) == 1 and alike in self._played:
                each, lines = self._played[alike]
            else:
                each, lines = await self._play(script, memory)
                if len(case.scripts) == 1:
                    self._played[alike] = each, lines
            self.lines += lines
            seen.append(each)
            if each.absent or not each.reached:
                break
        return seen

    async def _play(self, script: Script, memory: object) -> tuple[Seen, list[Line]]:
        lines = Memory()
        bench = self._bench
        if script.identity not in bench.identities and bench.profile.mutual and not bench.without_tls:
            return Seen(absent=f"no vehicle certificate {script.identity!r} given"), lines.lines
        until = self._clock.monotonic() + PATIENCE_S
        while True:
            try:
                stream = await self._connect(script.identity)
            except V2GError as error:
                return Seen(reached=False, trouble=f"no connection: {_unconnected(error)}"), lines.lines
            seen = await self._converse(script, memory, stream, lines)
            # A charger that closes without a message is often still busy with the last session.
            if seen.times or seen.answer or seen.absent or self._clock.monotonic() > until:
                return seen, lines.lines
            lines.lines.clear()
            await asyncio.sleep(_AGAIN_S)

    async def _converse(self, script: Script, memory: Any, stream: Stream, lines: Memory) -> Seen:
        kit = msgspec.structs.replace(self._bench.kit, stops=self._stop is not None)
        core = CHARGERS[self._bench.edition].vehicle(script, kit, memory, entropy=os.urandom)
        place = Trace("evcc", self._clock, lines).place()
        runner = Runner(
            place.traced(core),
            stream,
            execute=self._execute,
            clock=self._clock,
            observe=lambda event: place.event(event) if event.stage == "session" else None,
        )
        await run_watched(runner, core.seen)
        await asyncio.sleep(self._bench.pause_s)
        return core.seen

    async def _connect(self, identity: str, found: SdpAnswer | None = None) -> Stream:
        """Return a connection; a charger that is still busy is retried, not one whose certificate is rejected. Raises
        V2GError."""
        bench = self._bench
        until = self._clock.monotonic() + PATIENCE_S
        while True:
            where = found or await self.find()
            try:
                stream: Stream
                if bench.without_tls:
                    stream = await plain_tcp.connect(where.host, where.port, timeout=HANDSHAKE_SECONDS)
                else:
                    stream = await connect(where.host, where.port, self._endpoint(identity))
            except TransportError as error:
                if self._refusing or _rejects(error) or self._clock.monotonic() > until:
                    self._refusing = not isinstance(error, TlsError)
                    raise
                await asyncio.sleep(_AGAIN_S)
            else:
                self._refusing = False
                return stream

    def _endpoint(self, identity: str) -> Endpoint:
        bench = self._bench
        return Endpoint(
            server=False,
            identities=(TlsIdentity(bench.identities[identity]),) if bench.profile.mutual else (),
            anchors=bench.anchors,
            peer_role=Role.SECC,
            # A missing staple is a separate case.
            profile=msgspec.structs.replace(bench.profile, revocation=INTEROP.revocation),
        )

    def _execute(self, command: Command) -> Outcome | None:
        match command:
            case ShowPilot(state=state):
                return self._show(state)
            case EndAtCharger() if self._stop is not None:
                return self._stop()
        return None

    async def _show(self, state: PilotState) -> Fact | None:
        await self._pilot(state)
        return PilotShown()


def _rejects(error: V2GError) -> str:
    """Return how the tester has rejected the charger's certificate; empty where something else went wrong."""
    reason = error.reason if isinstance(error, TlsError) else ""
    if reason == "unknown_ca":
        return "the tester does not trust the charger's certificate (is its root in --pki, --root?)"
    if reason.startswith("ocsp_"):
        return "the tester rejects the charger's certificate by its OCSP answer"
    return "the tester rejects the charger's certificate" if reason.startswith("peer_certificate") else ""


def _unconnected(error: V2GError) -> str:
    """Return why there is no connection: who rejected whom, and where the cause may be the tester's own settings."""
    if why := _rejects(error):
        return f"{why}: {error}"
    return f"{REFUSES}: {error}" if isinstance(error, TlsError) and error.reason else str(error)


async def no_stimulus(state: PilotState) -> None:
    """Leave the pilot to the test bench, or to a charger that does not check it."""


def by_command(template: str, observe: Callable[[Observe], None]) -> Pilot:
    """Return a pilot set by a program: `template` is its command line, where {state} becomes B or C."""

    async def show(state: PilotState) -> None:
        await _run(template.replace("{state}", state.name), "pilot", observe)

    return show


def card_by_command(template: str, observe: Callable[[Observe], None]) -> Callable[[bool], Awaitable[None]]:
    """Return what holds a card to a reader, or takes it away, by a program: {card} becomes on or off."""

    async def hold(there: bool) -> None:
        await _run(template.replace("{card}", "on" if there else "off"), "card", observe)

    return hold


def stop_by_command(command: str, observe: Callable[[Observe], None]) -> Stop:
    """Return a function that stops a session at the charger by a program."""

    async def stop() -> None:
        await _run(command, "stop", observe)

    return stop


async def _run(command: str, stage: str, observe: Callable[[Observe], None]) -> None:
    process = await asyncio.create_subprocess_shell(command)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(10):
            if code := await process.wait():
                observe(Observe(stage, "command_failed", {"command": command, "code": code}))


# -- requests for discovery and TLS


_ANSWER_S: Final = 3.0
_READ: Final = 16 * 1024
_MAX_DATAGRAM: Final = 2048


class _Stream(Protocol):
    async def read(self, n: int) -> bytes: ...

    async def write(self, data: bytes) -> None: ...


async def ask_sdp(interface: str, port: int, form: str) -> list[str]:
    """Send the named datagrams, and return the facts in the answers. Raises TransportError."""
    loop, datagrams = asyncio.get_running_loop(), DATAGRAMS[form]
    real = has_multicast(interface)
    answers: list[bytes] = []
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        try:
            index = socket.if_nametoindex(interface)
            if real:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            target = (str(sdp.MULTICAST), port, 0, index) if real else ("::1", port, 0, 0)
            for datagram in datagrams:
                await loop.sock_sendto(sock, datagram, target)
                await _collect(sock, answers, sdp.RETRY_S)
            if len(answers) < len(datagrams):  # the last may come late: recorded is one after 0.43 s
                await _collect(sock, answers, LATEST_S - sdp.RETRY_S)
        except OSError as error:
            raise TransportError(f"SDP on {interface}: {error.strerror or error}") from None
    return sdp_facts(len(datagrams), answers)


async def _collect(sock: socket.socket, answers: list[bytes], seconds: float) -> None:
    """Add the datagrams that come in this time. Raises OSError."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                answers.append(await asyncio.get_running_loop().sock_recv(sock, _MAX_DATAGRAM))


async def negotiate(stream: _Stream, family: Family) -> list[str]:
    """Request -20 on a connection, and return the facts in the answer."""
    request = SupportedAppProtocolReq(app_protocol=(protocol(NAMESPACES[family]),))
    framer = Framer()
    try:
        async with asyncio.timeout(_ANSWER_S):
            await stream.write(frame(PayloadType.SAP, exi.encode(request)))
            while data := await stream.read(_READ):
                for each in framer.feed(data):
                    answer: Any = exi.decode(each.payload, APP_PROTOCOL)
                    code = answer.response_code.name
                    return [TALKS] if code.startswith("OK") else [REFUSES, code]
    except TimeoutError:
        return [REFUSES, "stays silent"]
    except CodecError as error:
        return [REFUSES, f"sends an undecodable message: {error}"]
    except TransportError as error:
        return [REFUSES, str(error)]
    return [REFUSES, "closes"]


class _Plain:
    """Reader and writer of asyncio as a stream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def read(self, n: int) -> bytes:
        try:
            return await self._reader.read(n)
        except OSError as error:
            raise TransportError(_named(error)) from None

    async def write(self, data: bytes) -> None:
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError as error:
            raise TransportError(_named(error)) from None


async def shake(host: str, port: int, form: str, own: Credentials, family: Family, *, interop: bool) -> list[str]:
    """Make the named handshake; return the charger's reaction. With `interop` all are on secp256r1."""
    context = _context(form, own, interop=interop)
    try:
        async with asyncio.timeout(_ANSWER_S):
            reader, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname="")
    except TimeoutError:
        return [REFUSES, "does not finish the handshake"]
    except OSError as error:  # ssl.SSLError is one
        return [REFUSES, _named(error)]
    try:
        version = writer.get_extra_info("ssl_object").version()
        return [str(version), *await negotiate(_Plain(reader, writer), family)]
    finally:
        writer.transport.abort()


def _context(form: str, own: Credentials, *, interop: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the charger is tested, not authenticated
    context.set_ecdh_curve("prime256v1" if interop or form == "curve-p256" else "secp521r1")
    if form == "version-1.2":
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    else:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    if form != "no-certificate":
        with tempfile.TemporaryDirectory() as folder:
            bundle = Path(folder) / "own.pem"
            save_bundle(bundle, own.chain, own.private_key)
            context.load_cert_chain(bundle)
    return context


def _named(error: OSError) -> str:
    reason = getattr(error, "reason", None) or error.strerror or type(error).__name__
    return str(reason).lower().replace("_", " ")
