"""`v2g conform station`: tests a third-party charging station, as its back end."""

import asyncio
import contextlib
import hmac
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from v2g.errors import ConfigError, TransportError
from v2g.ocpp.routes import Version
from v2g_cli.conform.ocpp import ask, cases_of, check_declaration, play, prompts, say_lost, versions_of
from v2g_cli.conform.options import Listener, OcppRun, Reports, Selection
from v2g_cli.output import say, write_new

if TYPE_CHECKING:  # slow to load: other commands do without
    from v2g.io.runtime.clock import Clock
    from v2g.io.websocket.server import Handshake, Refusal
    from v2g_testkit.ocpp.connection import Frame
    from v2g_testkit.ocpp.declaration import Declaration
    from v2g_testkit.ocpp.driver import Driver
    from v2g_testkit.ocpp.station_tester import StationTester


def station(
    listener: Listener,
    run: OcppRun,
    selection: Selection,
    reports: Reports,
    ocpp: Annotated[
        list[str] | None, typer.Option("--ocpp", help="1.6, 2.0.1 (default) or 2.1; the last two together.")
    ] = None,
    declaration: Annotated[
        Path | None, typer.Option("--declaration", metavar="FILE", help="What the station has and supports (TOML).")
    ] = None,
    declare: Annotated[
        Path | None,
        typer.Option("--declare", metavar="FILE", help="Write a new declaration from the station's base report."),
    ] = None,
    driver: Annotated[
        str | None,
        typer.Option(
            "--driver",
            metavar="COMMAND|tcp://HOST:PORT",
            help="Who plugs in and presents tokens: a command with {action}, {evse}, {token}, {type}, or a program.",
        ),
    ] = None,
    fast_forward: Annotated[
        float,
        typer.Option(
            "--fast-forward",
            metavar="FACTOR",
            min=1,
            max=100,
            help="Let all time pass faster, for a station that does so, too: `v2g station --fast-forward`.",
        ),
    ] = 1.0,
) -> None:
    """Test a charging station: the tester is its back end, runs the cases, and judges every frame.

    The station connects to ws://HOST:PORT/ocpp/IDENTITY, or wss with --cert. Steps at the station are done by
    --driver, or asked for with --prompt; without them such cases are not exercised. Exit code 1 if a case failed, 3 if
    none was conclusive. A pass is not a certificate.

    Examples:

    - `v2g conform station --list --profile 'Smart Charging'`
    - `v2g conform station --listen 0.0.0.0:9000 --declare station.toml`
    - `v2g conform station --listen 0.0.0.0:9000 --declaration station.toml --prompt --html report`
    - `v2g conform station --driver 'relay.sh {action} {evse} {token}' --quick --junit report.xml`
    """
    from v2g.io.runtime.clock import clock_of, loop_of
    from v2g_cli.conform.frames import FrameFile
    from v2g_cli.conform.running import list_cases
    from v2g_testkit.ocpp.declaration import Declaration, read_declaration
    from v2g_testkit.ocpp.run_judge import JudgedTester, RunJudge
    from v2g_testkit.ocpp.station_cases.catalogue import STATION_CASES
    from v2g_testkit.ocpp.station_tester import StationTest
    from v2g_testkit.ocpp.v16.station import StationTest16
    from v2g_testkit.ocpp.v16.station_cases import STATION_CASES_16

    declared = Declaration() if declaration is None else read_declaration(declaration)
    if run.seconds is not None:
        declared = msgspec.structs.replace(declared, seconds=run.seconds)
    versions = versions_of(ocpp)
    judge = RunJudge("station", declared.waived, is_16=versions == ("1.6",))
    how = judge.rules, "station", run.profile or (), declared.profiles, selection
    cases = cases_of(STATION_CASES_16, *how) if versions == ("1.6",) else cases_of(STATION_CASES, *how)
    if selection.listed:
        list_cases(cases, json=reports.json)
        return
    if run.check:
        check_declaration(declaration, declared, cases)
        return
    bench = _Bench(listener, versions)
    lines = FrameFile(run.frames)
    tester = bench.tester(declared, _driver(driver, prompt=run.prompt), clock_of(fast_forward), lines.append)
    loop_factory = loop_of(fast_forward)
    if declare is not None:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(_declare(bench, tester, declare))
        return
    if driver is None and not run.prompt:
        say_lost(cases, StationTest16 if versions == ("1.6",) else StationTest, "Step", "--driver or --prompt")
    judged = JudgedTester(tester, judge)
    play("station", judged, bench.open(), cases, reports, lines=lines, loop_factory=loop_factory)


class _Bench:
    """Where the station connects, and how."""

    def __init__(self, options: Listener, versions: Sequence[Version]) -> None:
        from v2g.io.tls.files import server_context

        chain, key, ca, ca_key = options.chain, options.key, options.ca, options.ca_key
        if (chain is None) != (key is None):
            raise ConfigError("--cert and --key belong together", hint="give both or neither")
        if ca is not None and chain is None:
            raise ConfigError("--ca needs TLS", hint="--cert and --key")
        if ca_key is not None and ca is None:
            raise ConfigError("--ca-key needs its root", hint="--ca")
        self._authority = None if ca is None or ca_key is None else (ca, ca_key)
        self._wait_s, self._file_port = options.wait, options.file_port
        self._address, self._path, self._versions = _address(options.listen), options.path, versions
        self._identity, self._password = options.identity, options.password
        self._context = None if chain is None or key is None else server_context(chain, key, (ca,) if ca else ())
        self._tester: StationTester

    def tester(
        self, declared: "Declaration", driver: "Driver", clock: "Clock", record: "Callable[[Frame], None]"
    ) -> "StationTester":
        """Return the tester, which `open` connects; `record` gets each frame."""
        from csms.admission.rules import failed_tls
        from v2g.io.websocket.server import watch_handshakes
        from v2g_testkit.ocpp.certificates import Authority
        from v2g_testkit.ocpp.file_server import FileServer
        from v2g_testkit.ocpp.listener import Listener
        from v2g_testkit.ocpp.station_tester import StationTester
        from v2g_testkit.ocpp.v16.station import StationTester16

        kind = StationTester16 if self._versions == ("1.6",) else StationTester
        self._tester = tester = kind(declared, driver, clock, record)
        if self._authority is not None:
            tester.authority = Authority("CSMSRootCertificate", tester.now(), files=self._authority)
        if self._context is not None:

            def note(error: ssl.SSLError) -> None:
                shown = error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else ""
                tester.turned_away = failed_tls(error.reason or "", shown).detail

            watch_handshakes(self._context, note)
        tester.files = FileServer(self._address[0], self._file_port)
        tester.listener = Listener(
            *self._address, tester.serve, self._admit, path=self._path, versions=self._versions, context=self._context
        )
        return tester

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        """Listen during the body, which begins once the station is there; give its identity. Raises TransportError."""
        from v2g_testkit.cases.case import PRECONDITION
        from v2g_testkit.ocpp.case import Inconclusive

        listener = self._tester.listener
        try:
            await listener.open()
        except OSError as error:
            raise TransportError(
                f"--listen {listener.host}:{listener.port}: {error.strerror}", hint="choose another port"
            ) from None
        scheme = "ws" if self._context is None else "wss"
        shown = self._identity or "IDENTITY"
        say(f"waiting for the station at {scheme}://{listener.host}:{listener.port}{self._path}/{shown}", err=True)
        try:
            await self._tester.find(self._wait_s)
            yield self._tester.identity
        except Inconclusive as error:
            found = str(error).removeprefix(PRECONDITION)
            if not self._tester.hosts and not self._tester.turned_away and (ended := listener.attempts.ended):
                found += f"; {ended} attempts ended before a request: does it trust the certificate of --cert?"
            hint = "is its back end's URL right? Are --ocpp and --password?"
            raise TransportError(found, hint=hint) from None
        finally:
            await listener.close()
            self._tester.files.stop()

    async def _admit(self, handshake: "Handshake") -> "Refusal | None":
        from v2g.io.websocket.server import Refusal
        from v2g.text import printable

        tester = self._tester
        if self._identity and handshake.identity is not None and handshake.identity != self._identity:
            tester.turned_away = f"its identity is {printable(handshake.identity)}, and not {self._identity}"
            return Refusal(404, "no such charging station")
        if self._password is not None and handshake.identity is not None:
            shown = handshake.credentials
            known = [each.encode() for each in (self._password, *tester.allowed)]
            fits = shown is not None and any(hmac.compare_digest(shown.password.encode(), each) for each in known)
            if not fits or shown is None or shown.username != handshake.identity:
                wrong = "its password is another"
                if shown is None:
                    wrong = "it shows no password"
                elif shown.username != handshake.identity:
                    wrong = f"its user name is {printable(shown.username)}, not its identity"
                tester.turned_away = wrong
                return Refusal(401, "wrong user name or password")
        return await tester.admit(handshake)


async def _declare(bench: _Bench, tester: "StationTester", file: Path) -> None:
    from v2g_testkit.ocpp.declaration import from_report, written

    if file.exists():  # before anybody waits for the station
        raise ConfigError(f"{file} exists", hint="name another file")
    async with bench.open():
        text = written(from_report(tester.report) if tester.report else tester.declaration)
    write_new(file, text)
    todo = "look through it" if tester.report else "fill in what the station has, which has sent no base report"
    say(f"{file}: of {tester.identity}; {todo}, and add tokens that the station knows")


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"--listen {text}: not an address", hint="0.0.0.0:9000")
    return host.strip("[]"), int(port)


def _driver(text: str | None, *, prompt: bool) -> "Driver":
    from v2g_testkit.ocpp.driver import NoDriver, PromptDriver, driver_of

    if prompts("--driver", text, prompt=prompt):
        return PromptDriver(ask)
    return NoDriver() if text is None else driver_of(text)
