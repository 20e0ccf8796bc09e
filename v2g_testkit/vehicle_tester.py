"""Runs the cases of `v2g_testkit.cases` against a vehicle on the link: SDP, TLS, and sessions, one connection each."""

import asyncio
import contextlib
import os
import signal
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from v2g.errors import TlsError
from v2g.io.network import plain_tcp
from v2g.io.network.plain_tcp import port_of, start_server
from v2g.io.network.sdp import SdpServer, link_local_address
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.runner import Runner
from v2g.io.runtime.supervision import wait_at_most
from v2g.io.runtime.trace import Trace
from v2g.io.tls.endpoint import ISO15118_20, Endpoint, TlsIdentity, TlsProfile
from v2g.io.tls.peer_verifier import RECEIVED
from v2g.io.tls.server import serve
from v2g.io.tls.stream import HANDSHAKE_SECONDS
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.messages.common_messages import Authorization
from v2g.iso15118.engine import sdp
from v2g.iso15118.engine.sdp import SdpRequest, SdpResponse, Security, Transport
from v2g.iso15118.trace import Line
from v2g.pki.credentials import Credentials, save_bundle
from v2g.pki.profile import Role
from v2g_testkit.cases.case import Case, ChargerScript, Expect, Result, Seen, judge
from v2g_testkit.cases.editions import VEHICLES, Edition
from v2g_testkit.cases.evcc_probes import BREAKS, CONNECTS, REFUSES, STAYS_AWAY, TALKS, request_facts
from v2g_testkit.cases.scripted_charger import PAUSES, ScriptedCharger
from v2g_testkit.charger_tester import Memory, Stream, run_watched

UNANSWERED: Final = 8
"""Number of unanswered SDP requests in that probe."""

STAY_S: Final = 4.0
"""Observation time of a vehicle that must not connect, s."""

_REFUSALS: Final = frozenset(
    {reason for reason, _ in RECEIVED.values()}
    | {"closed", "protocol_version", "no_common_cipher", "no_common_group", "no_common_signature_algorithm"}
)
"""Reasons of failed handshakes that the vehicle decides: by an alert, by closing, or by what its ClientHello lacks."""

_REFUSED_12: Final = ("ALERT", "UNSUPPORTED_PROTOCOL", "NO_SHARED_CIPHER", "ConnectionResetError", "closes")
"""As `_REFUSALS`, in OpenSSL's words, where only TLS 1.2 is served."""

_END_S: Final = 5.0
_PORT: Final = slice(24, 26)
"""Position of the port in an SDP response with its header."""


class VehicleBench(msgspec.Struct, frozen=True, kw_only=True):
    """The charger's location, and its credentials. `identities` are TLS certificates by name."""

    interface: str
    family: Family
    edition: Edition = Edition.ISO20
    identities: Mapping[str, TlsIdentity]
    anchors: tuple[bytes, ...]
    sdp_port: int = sdp.PORT
    profile: TlsProfile = ISO15118_20
    without_tls: bool = False
    pay: str = ""
    """EIM or PnC: the only method offered if a case leaves it open; default: both."""
    wait_s: float = 120.0
    """Maximum waiting time for a vehicle to connect."""


class _SpoiltServer(SdpServer):
    """Sends these bytes before the first answer."""

    spoilt: tuple[bytes, ...] = ()

    def _reply(self, datagram: bytes) -> bytes | None:
        reply = super()._reply(datagram)
        if reply is None or not self.spoilt:
            return reply
        first, *rest = self.spoilt
        self.spoilt = tuple(rest)
        return first


class Starter:
    """Triggers a vehicle by a program, once per connection; without a program it connects on its own."""

    def __init__(self, command: str | None) -> None:
        self._command = command

    @contextlib.asynccontextmanager
    async def going(self) -> AsyncIterator[None]:
        """Run the program during a case; afterwards it has some seconds to end."""
        if self._command is None:
            yield
            return
        process = await asyncio.create_subprocess_shell(self._command, start_new_session=True)
        try:
            yield
            await wait_at_most(_END_S, process.wait())
        finally:
            if process.returncode is None:
                await _ended(process)


async def _ended(process: asyncio.subprocess.Process) -> None:
    """End a program, and those that it has started; one that stays is killed."""
    for signalled in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signalled)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_END_S):
                await process.wait()
                return


class EvccTester:
    """Runs cases in sequence; `lines` are the messages of the latest one."""

    def __init__(self, bench: VehicleBench, clock: Clock, *, starter: Starter) -> None:
        self._bench, self._clock, self._starter = bench, clock, starter
        self._played: dict[ChargerScript, tuple[Seen, list[Line]]] = {}
        self.lines: list[Line] = []
        self._latest: ScriptedCharger | None = None
        """The charger of the latest connection."""
        self._paused: frozenset[bytes] = frozenset()
        """Sessions that the vehicle has paused."""

    async def run(self, case: Case) -> Result:
        """Run a case and evaluate it. Raises TransportError if the SDP port is in use."""
        began, self.lines = self._clock.monotonic(), []
        if case.probe:
            kind, _, form = case.probe.partition(":")
            seen = [await (self._discovery(form) if kind == "sdp" else self._handshake(form))]
        else:
            several = len(case.charger_scripts) > 1
            seen = await (self._series if several else self._single)(case.charger_scripts)
        verdict, found = judge(case, seen)
        seconds = round(self._clock.monotonic() - began, 3)
        return Result(case=case.id, verdict=verdict, found=found, seconds=seconds)

    # -- sessions -----------------------------------------------------------------------------------------------

    async def _single(self, scripts: tuple[ChargerScript, ...]) -> list[Seen]:
        return [await self._play(each) for each in scripts]

    async def _series(self, scripts: tuple[ChargerScript, ...]) -> list[Seen]:
        """Play scripts between which the vehicle is not started again."""
        seen, lines = [], []
        async with self._starter.going():
            for script in scripts:
                seen.append(await self._meet(script, "secc", started=True))
                lines += self.lines
                if seen[-1].absent or not seen[-1].reached:
                    break
        self.lines = lines
        return seen

    async def _play(self, script: ChargerScript) -> Seen:
        alike = msgspec.structs.replace(script, expect=Expect())
        if not script.at and alike in self._played:
            seen, self.lines = self._played[alike]
            return seen
        seen = await self._meet(script, "secc")
        if not script.at:
            self._played[alike] = seen, self.lines
        return seen

    async def _meet(self, script: ChargerScript, identity: str, *, started: bool = False) -> Seen:
        bench, lines = self._bench, Memory()
        pays = {"EIM": (Authorization.EIM,), "PnC": (Authorization.PnC,)}.get(
            script.pay or bench.pay, (Authorization.PnC, Authorization.EIM)
        )
        if bench.without_tls and script.pay == "PnC":
            return Seen(absent="payment by contract requires TLS")
        found: asyncio.Future[Seen] = asyncio.get_running_loop().create_future()
        came = asyncio.Event()

        async def talk(stream: Stream) -> None:
            came.set()
            charger = VEHICLES[bench.edition].charger
            core = charger(script, bench.family, entropy=os.urandom, pays=pays, tls=not bench.without_tls)
            if script.resume and self._latest is not None:
                core.follow(self._latest)
            core.forgotten = self._paused
            self._latest = core
            place = Trace("secc", self._clock, lines).place()
            runner = Runner(
                place.traced(core),
                stream,
                execute=lambda command: None,
                clock=self._clock,
                observe=lambda event: place.event(event) if event.stage == "session" else None,
            )
            try:
                await run_watched(runner, core.seen)
            except Exception as error:  # noqa: BLE001 - whoever waits for the result gets it
                if not found.done():
                    found.set_exception(error)
            if PAUSES in core.seen.facts:
                self._paused |= {core.session_id}
            if not found.done():
                found.set_result(core.seen)

        def refused(error: TlsError) -> None:
            if not found.done() and error.reason != "peer_silent":
                came.set()
                how = REFUSES if error.reason in _REFUSALS or error.reason.startswith("alert_") else BREAKS
                found.set_result(Seen(facts=[how, str(error)], reached=False, trouble=f"TLS failed: {error}"))

        async with self._listening(talk, refused, identity) as port, self._answering(self._book(port)):
            seen = await self._patiently(came, found, started=started)
        self.lines = lines.lines
        return seen

    async def _patiently(self, came: asyncio.Event, found: "asyncio.Future[Seen]", *, started: bool = False) -> Seen:
        """Wait for a vehicle, which may be `started` already, then for its behaviour, timed by the core."""
        async with contextlib.nullcontext() if started else self._starter.going():
            try:
                async with asyncio.timeout(self._bench.wait_s):
                    await came.wait()
            except TimeoutError:
                waited = f"no vehicle connected within {self._bench.wait_s:g} s"
                return Seen(reached=False, began=False, trouble=waited)
            return await found

    @contextlib.asynccontextmanager
    async def _listening(
        self, talk: "Callable[[Stream], object]", refused: Callable[[TlsError], None], identity: str
    ) -> AsyncIterator[int]:
        bench, host = self._bench, self._host()
        if bench.without_tls:
            plain_server = await plain_tcp.serve(host, sdp.TCP_PORTS, talk)  # type: ignore[arg-type]
            try:
                yield plain_server.port
            finally:
                await plain_server.close()
            return
        profile = bench.profile
        if identity == "curve-p256":
            profile, identity = msgspec.structs.replace(profile, groups=("prime256v1",)), "secc"
        endpoint = Endpoint(
            server=True,
            identities=(bench.identities[identity],),
            anchors=bench.anchors,
            peer_role=Role.VEHICLE,
            profile=profile,
        )
        server = await serve(host, sdp.TCP_PORTS, talk, endpoint, on_failure=refused)  # type: ignore[arg-type]
        try:
            yield server.port
        finally:
            await server.close()

    def _host(self) -> str:
        address = link_local_address(self._bench.interface)
        return str(address) + (f"%{self._bench.interface}" if address.is_link_local else "")

    @contextlib.asynccontextmanager
    async def _answering(
        self, answer: Callable[[SdpRequest], SdpResponse | None], spoilt: tuple[bytes, ...] = ()
    ) -> AsyncIterator[None]:
        server = _SpoiltServer(self._bench.interface, answer, port=self._bench.sdp_port)
        server.spoilt = spoilt
        try:
            yield
        finally:
            server.close()

    def _book(self, port: int) -> Callable[[SdpRequest], SdpResponse | None]:
        """Return valid answers."""
        security = Security.NONE if self._bench.without_tls else Security.TLS
        response = SdpResponse(link_local_address(self._bench.interface), port, security, Transport.TCP)
        return lambda request: response

    # -- before a session ---------------------------------------------------------------------------------------

    async def _discovery(self, form: str) -> Seen:
        """Answer SDP requests by the form, and observe whether the vehicle connects."""
        asked: list[float] = []
        came = asyncio.Event()

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            came.set()
            writer.transport.abort()

        enough = asyncio.Event()

        async with self._raw(connected) as port:
            good = self._book(port)
            answer = self._answers(form, good, asked, enough)
            async with self._answering(answer, _bytes(form, good)), self._starter.going():
                await wait_at_most(self._bench.wait_s, (enough if form in ("unanswered", "no-tls") else came).wait())
                if form == "no-tls" and asked:
                    await wait_at_most(STAY_S, came.wait())
        if not asked:
            return Seen(reached=False, trouble=f"no vehicle sent an SDP request within {self._bench.wait_s:g} s")
        if form == "unanswered":
            return Seen(facts=request_facts(asked))
        return Seen(facts=[CONNECTS if came.is_set() else STAYS_AWAY])

    def _answers(
        self, form: str, good: Callable[[SdpRequest], SdpResponse | None], asked: list[float], enough: asyncio.Event
    ) -> Callable[[SdpRequest], SdpResponse | None]:
        """Return the answers of a probe; `asked` receives the time of each request, `enough` is set when complete."""
        loop = asyncio.get_running_loop()

        def answer(request: SdpRequest) -> SdpResponse | None:
            if len(asked) < UNANSWERED:
                asked.append(loop.time())
            response = good(request)
            assert response is not None
            if form == "no-tls":
                enough.set()
                return msgspec.structs.replace(response, security=Security.NONE)
            if form == "unanswered":
                if len(asked) >= UNANSWERED:
                    enough.set()
                return None
            return response

        return answer

    @contextlib.asynccontextmanager
    async def _raw(
        self, handler: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
    ) -> AsyncIterator[int]:
        """Listen without TLS; yield the port."""
        server = await start_server(handler, self._host(), 0)
        try:
            yield port_of(server)
        finally:
            server.close()
            await server.wait_closed()
            await asyncio.sleep(0)  # aborted transports close their sockets in the next round of the loop

    async def _handshake(self, form: str) -> Seen:
        """Present the form's certificates, and observe whether the vehicle sends messages."""
        bench = self._bench
        if bench.without_tls:
            return Seen(absent="the vehicle is tested without TLS")
        if form == "version-1.2":
            return await self._older()
        identity = "secc" if form == "good" else form
        if identity not in bench.identities and form != "curve-p256":
            return Seen(absent=f"no charger certificate {form!r} given")
        talked = ChargerScript(at="SupportedAppProtocolReq", twist="close")
        seen = await self._meet(talked, identity)
        if seen.reached:
            return Seen(facts=[TALKS, "TLSv1.3"])
        return Seen(facts=seen.facts) if {REFUSES, BREAKS} & set(seen.facts) else seen

    async def _older(self) -> Seen:
        """Use TLS 1.2 only."""
        own: Credentials = self._bench.identities["secc"].credentials
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with tempfile.TemporaryDirectory() as folder:
            bundle = Path(folder) / "own.pem"
            save_bundle(bundle, own.chain, own.private_key)
            context.load_cert_chain(bundle)
        found: asyncio.Future[Seen] = asyncio.get_running_loop().create_future()
        came = asyncio.Event()

        async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            said, beneath = b"", writer.transport  # start_tls wraps it
            came.set()
            try:
                async with asyncio.timeout(HANDSHAKE_SECONDS):
                    await writer.start_tls(context)
                    said = await reader.read(64)
            except (OSError, TimeoutError) as error:  # ssl.SSLError is an OSError
                reason = str(getattr(error, "reason", None) or type(error).__name__)
            else:
                reason = "closes"
            if not found.done():
                how = REFUSES if any(word in reason for word in _REFUSED_12) else BREAKS
                facts = [TALKS, "TLSv1.2"] if said else [how, reason.lower().replace("_", " ")]
                found.set_result(Seen(facts=facts))
            writer.transport.abort()
            beneath.abort()

        async with self._raw(raw) as port, self._answering(self._book(port)):
            return await self._patiently(came, found)


def _bytes(form: str, good: Callable[[SdpRequest], SdpResponse | None]) -> tuple[bytes, ...]:
    """Return the bytes before a valid answer."""
    response = good(SdpRequest())
    assert response is not None
    whole = bytearray(sdp.encode_response(response))
    if form == "garbage":
        return (b"\xff" * 28, bytes(whole[:-1]), b"\x02\xfd" + bytes(whole[2:]))
    if form == "port-0":
        whole[_PORT] = b"\x00\x00"
        return (bytes(whole),)
    return ()
