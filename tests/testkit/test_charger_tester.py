"""The tester against our charger over real sockets: what memory cannot show, and the command with its reports."""

import asyncio
import contextlib
import json
import socket
import socketserver
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from ipaddress import IPv6Address
from pathlib import Path
from typing import Final, NoReturn

import pytest
from typer.testing import CliRunner

from pki_tools.tree import PkiTree
from secc.app import assemble
from secc.charger import Charger
from secc.config import load_config
from secc.session.ports import StopRequested
from tests.io.tls.support import other_pki
from tests.secc_toml import identity
from tests.together import together
from tests.waiting import until
from v2g.errors import TimeoutExpired
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.events import EventLog
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.engine.sdp import SdpResponse, Security, encode_response
from v2g.iso15118.trace import Line
from v2g.iso15118.trace_read import entries
from v2g.observe import Observe
from v2g_cli.conform.kit import chargers_of_tree, means_of_tree
from v2g_cli.conform.report import write_pages
from v2g_cli.demo.processes import free_port
from v2g_cli.main import app
from v2g_cli.trace.html import page
from v2g_testkit.cases.case import Result, Seen, Verdict
from v2g_testkit.cases.declaration import ChargerDeclaration
from v2g_testkit.cases.editions import CHARGERS, Edition
from v2g_testkit.cases.known import Kit, Payer
from v2g_testkit.cases.report import chosen
from v2g_testkit.cases.secc_cases import secc_cases
from v2g_testkit.cases.secc_probes import TWICE
from v2g_testkit.charger_tester import (
    Bench,
    SeccTester,
    Stop,
    ask_sdp,
    by_command,
    no_stimulus,
    run_watched,
    stop_by_command,
)

__all__ = ["other_pki"]

CASES = secc_cases(Family.DC)


@contextlib.asynccontextmanager
async def charger(folder: Path, pki: PkiTree, port: int, *, ocsp: Path | None = None) -> AsyncIterator[Charger]:
    text = f"""data_dir = "data"
{identity(pki, "v2g", "oem", "mo", ocsp=True)}
[hardware]
backend = "bench"
[sdp]
port = {port}
[site]
contracts = ["DEV2GC00000001"]
"""
    clock = Clock()
    log = EventLog("secc", clock)
    if ocsp is not None:
        text = text.replace(str(pki.path("secc/ocsp.der")), str(ocsp))
    async with assemble(load_config(text, name=str(folder / "secc.toml")), clock, log) as made:
        serving = asyncio.create_task(made.serve(lambda stream: stream))
        try:
            yield made
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)


def bench_of(pki: PkiTree, port: int, *, stop: Stop | None = None, **options: object) -> SeccTester:
    means = means_of_tree(pki, datetime.now(UTC))
    bench = Bench(
        interface="lo",
        family=Family.DC,
        identities=means.identities,
        anchors=options.pop("anchors", means.anchors),  # type: ignore[arg-type]
        kit=Kit(contracts={name: Payer(each.chain, each.key) for name, each in means.contracts.items()}),
        sdp_port=port,
        pause_s=0.0,
        **options,  # type: ignore[arg-type]
    )
    return SeccTester(bench, Clock(), pilot=no_stimulus, stop=stop)


async def played(pki: PkiTree, folder: Path, *only: str) -> tuple[dict[str, Result], dict[str, list[Line]]]:
    port = free_port(socket.SOCK_DGRAM)
    async with charger(folder, pki, port):
        test, results, lines = bench_of(pki, port), {}, {}
        await test.find()
        for case in chosen(CASES, only):
            results[case.id] = await test.run(case)
            lines[case.id] = test.lines
        return results, lines


async def test_discovery_and_handshakes_of_our_charger(pki: PkiTree, tmp_path: Path) -> None:
    results, _ = await played(pki, tmp_path, "SDP-tls", "SDP-short", "TLS")
    verdicts = {name: each.verdict for name, each in results.items()}
    assert set(verdicts.values()) == {Verdict.PASS}, results
    assert len(verdicts) == 11
    assert "staples an OCSP answer" in results["SECC-TLS-staple"].found
    assert results["SECC-SDP-short"].found == "does not answer"


async def test_a_charger_of_another_root_is_not_said_to_refuse(
    pki: PkiTree, other_pki: PkiTree, tmp_path: Path
) -> None:
    port, said = free_port(socket.SOCK_DGRAM), "the tester does not trust the charger's certificate (is its root in"
    anchors = means_of_tree(other_pki, datetime.now(UTC)).anchors
    async with charger(tmp_path, pki, port):
        test = bench_of(pki, port)
        await test.find()
        test = bench_of(pki, port, anchors=anchors)
        for case in chosen(CASES, ["TLS-good", "RUN-DC-dynamic"]):
            result = await test.run(case)
            assert said in result.found
            assert "refuses" not in result.found


async def test_a_charger_whose_certificate_is_revoked_is_not_said_to_refuse(pki: PkiTree, tmp_path: Path) -> None:
    port, ocsp = free_port(socket.SOCK_DGRAM), tmp_path / "ocsp.der"
    ocsp.write_bytes(chargers_of_tree(pki, datetime.now(UTC))["revoked"].answer())
    async with charger(tmp_path, pki, port, ocsp=ocsp):
        test = bench_of(pki, port)
        await test.find()
        result = await test.run(*chosen(CASES, ["TLS-good"]))
    assert result.verdict is Verdict.FAIL
    assert "the tester rejects the charger's certificate by its OCSP answer: " in result.found
    assert "revoked" in result.found


@pytest.mark.requirement("R16")
async def test_a_charger_with_tls_is_not_failed_for_having_it(pki: PkiTree, tmp_path: Path) -> None:
    port, about = free_port(socket.SOCK_DGRAM), {"edition": Edition.DIN, "without_tls": True}
    (case,) = chosen(CHARGERS[Edition.DIN].cases(Family.DC), ["SECC-SDP-DIN-007"])
    async with charger(tmp_path, pki, port):
        await bench_of(pki, port).find()
        for tls, verdict, found in (
            (None, Verdict.NOT_APPLICABLE, "whether the charger has it is not declared: tls"),
            (True, Verdict.NOT_APPLICABLE, "declared: tls = true"),
            (False, Verdict.FAIL, "not seen: security NONE"),
        ):
            declared = ChargerDeclaration(tls=tls)
            result = await bench_of(pki, port, declared=declared, **about).run(case)
            assert (result.verdict, result.found.partition(";")[0]) == (verdict, found)


async def test_sessions_with_our_charger(pki: PkiTree, tmp_path: Path) -> None:
    only = ("SAP-DC-priority", "SVC-DC-detail", "AUT-DC-expired", "GTP-DC-session_setup-byte_by_byte", "SAF-DC-welding")
    results, lines = await played(pki, tmp_path, *only)
    assert {each.verdict for each in results.values()} == {Verdict.PASS}, results
    assert len(results) == 5
    said = [each.name for each in lines["SECC-SVC-DC-detail"] if each.way == "out"]
    assert said[:2] == ["SupportedAppProtocolReq", "SessionSetupReq"]
    write_pages(
        tmp_path,
        "secc",
        {"device": "X <1>"},
        chosen(CASES, only),
        list(results.values()),
        lambda case, title: page(title, entries(lines[case])) if lines.get(case) else None,
    )
    index = (tmp_path / "index.html").read_text()
    assert all(name in index for name in results)
    assert "<dt>device</dt><dd>X &lt;1&gt;</dd>" in index
    assert 'href="SECC-SVC-DC-detail.html"' in index
    assert "FAILED_ServiceIDInvalid" in (tmp_path / "SECC-SVC-DC-detail.html").read_text()


@pytest.mark.long
async def test_whole_sessions_and_pauses_with_our_charger(pki: PkiTree, tmp_path: Path) -> None:
    results, _ = await played(pki, tmp_path, "RUN", "TIM", "END", "SES")
    wrong = {name: each for name, each in results.items() if each.verdict is not Verdict.PASS}
    assert set(wrong) == {"SECC-END-DC-renegotiate"}, wrong


async def test_a_session_is_ended_at_our_charger(pki: PkiTree, tmp_path: Path) -> None:
    port = free_port(socket.SOCK_DGRAM)
    async with charger(tmp_path, pki, port) as made:

        async def stop() -> None:
            made.controllers[0].tell(StopRequested("remote"))

        (case,) = chosen(CASES, ["*stop-then-services"])
        result = await bench_of(pki, port, stop=stop).run(case)
    assert result.verdict is Verdict.PASS, result


async def test_the_tester_notes_by_how_much_it_was_late(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, seen = asyncio.get_running_loop(), Seen()
    time = loop.time

    class Busy:
        async def run(self) -> None:
            await asyncio.sleep(0)  # the tester begins to look
            monkeypatch.setattr(loop, "time", lambda: time() + 0.3)
            await until(lambda: seen.late_s)

    await run_watched(Busy(), seen)  # type: ignore[arg-type]
    assert seen.late_s >= 0.28


async def test_nobody_there_is_reported_at_once(pki: PkiTree) -> None:
    with pytest.raises(TimeoutExpired):
        await bench_of(pki, free_port(socket.SOCK_DGRAM), setup_s=0.2).find()


async def test_a_charger_that_is_gone_is_waited_for_once(pki: PkiTree) -> None:
    tester = bench_of(pki, free_port(socket.SOCK_DGRAM), setup_s=2.0)
    results = [await tester.run(case) for case in chosen(CASES, ["SAP"])]
    assert {each.verdict for each in results} == {Verdict.INCONCLUSIVE}
    assert results[0].seconds >= 2.0
    assert sum(each.seconds for each in results[1:]) < 2.0 * len(results[1:])
    assert "no connection" in results[-1].found


@contextlib.contextmanager
def answering(answer: bytes, *, late_s: float = 0.0, times: int = 1) -> Iterator[int]:
    """A charger that answers SDP with this datagram, at the port that is yielded."""

    class Charger(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            threading.Event().wait(late_s)
            for _ in range(times):
                self.request[1].sendto(answer, self.client_address)

    class Server(socketserver.ThreadingUDPServer):
        address_family = socket.AF_INET6

    with Server(("::1", 0), Charger) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


PLAIN: Final = encode_response(SdpResponse(IPv6Address("fe80::1"), 50_000, Security.NONE))


@pytest.mark.requirement("R16")
async def test_an_answer_as_late_as_a_recorded_one_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ABB answered after 0.43 s, when vehicles had already asked again."""
    monkeypatch.setattr("v2g.iso15118.engine.sdp.RETRY_S", 0.02)
    with answering(PLAIN, late_s=0.05) as port:
        assert "answers every request" in await ask_sdp("lo", port, "tls")


async def test_an_answer_that_comes_twice_is_noticed() -> None:
    with answering(PLAIN, times=2) as port:
        assert TWICE in await ask_sdp("lo", port, "tls")


def test_a_charger_without_a_usable_answer_is_judged_for_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def find(_: SeccTester) -> NoReturn:
        raise TimeoutExpired("SDP", 12.5, hint="a charger answered with TLS over TCP only")

    monkeypatch.setattr(SeccTester, "find", find)
    secured, report = encode_response(SdpResponse(IPv6Address("fe80::1"), 50_000)), tmp_path / "report.xml"
    only = ("--only", "SECC-SDP-DIN-001", "--only", "RUN", "--junit", str(report))
    with answering(secured) as port:
        code, output = run("--edition", "din", "--sdp-port", str(port), *only)
    assert code == 1
    assert "fail\tSECC-SDP-DIN-001\tnot seen: security NONE; seen: answers" in output
    assert "stopped: SDP expired after 12.5 s: a charger answered with TLS over TCP only" in output
    assert "not run: SDP expired after 12.5 s: a charger answered with TLS over TCP only" in report.read_text()
    code, output = run("--edition", "din", "--sdp-port", str(free_port(socket.SOCK_DGRAM)), *only)
    assert code != 0
    assert "SDP expired" in output
    assert "stopped" not in output


async def test_the_pilot_is_moved_by_a_program(tmp_path: Path) -> None:
    from v2g.iec61851.pilot import PilotState

    reported: list[Observe] = []
    await by_command(f"echo {{state}} >> {tmp_path / 'pilot'}", reported.append)(PilotState.C)
    assert (tmp_path / "pilot").read_text() == "C\n"
    assert not reported
    await by_command("exit 3", reported.append)(PilotState.B)
    await stop_by_command("exit 4", reported.append)()
    assert [(each.stage, each.data["code"]) for each in reported] == [("pilot", 3), ("stop", 4)]


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["conform", "secc", *words])
    return done.exit_code, str(done.exception) if done.exception and not done.output else done.output


def test_the_command_lists_its_cases() -> None:
    code, output = run("--list", "--energy", "AC", "--only", "SAP", "--json")
    assert code == 0
    records = [json.loads(line) for line in output.splitlines()]
    assert {each["group"] for each in records} == {"SAP"}
    assert len(records) == 7
    code, output = run("--list", "--quick")
    assert code == 0
    assert output.splitlines()[0].startswith("SECC-SDP-tls\t")


@together(
    ("words", "said"),
    [
        (("--only", "nothing"), "no case named nothing"),
        ((), "no vehicle certificate given"),
        (("--profile", "other"), "--profile other"),
        (("--without-tls",), "--profile iso15118-20 with --without-tls"),
        (("--vehicle-chain", "x.pem"), "belong together"),
        (("--pki", "nowhere"), "holds no PKI"),
        (("--pay", "cash"), "--pay cash"),
        (("--declaration", "nowhere.toml"), "nowhere.toml: No such file"),
        (("-i", "eth7nope"), "--interface eth7nope: no such network interface"),
    ],
)
def test_what_cannot_be_run_is_refused(words: tuple[str, ...], said: str) -> None:
    code, output = run(*words)
    assert code != 0
    assert said in output


def test_a_declaration_is_checked_for_what_it_rules_out(tmp_path: Path) -> None:
    file = tmp_path / "charger.toml"
    file.write_text('renegotiation = false\nevse_id = "DE*V2G*E00001"\n')
    code, output = run("--edition", "2", "--declaration", str(file), "--check")
    assert code == 0
    assert "declared: renegotiation = false" in output
    assert "cases may run" in output
    code, output = run("--check")
    assert code != 0
    assert "--check needs a declaration" in output
