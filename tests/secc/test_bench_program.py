"""The charger program without a medium: what a bench needs, what it refuses, and what it knows without a back end."""

import asyncio
import gc
import shutil
import socket
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from pki_tools.tree import PkiTree
from secc.app import assemble
from secc.charger import Charger
from secc.config import load_config
from secc.hardware.simulated import BenchEvse
from tests.secc.backend import backend
from tests.secc.bench_program import BENCH, SIGNAL, made, written
from v2g.errors import ConfigError, TransportError
from v2g.io.network import interfaces
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.events import EventLog
from v2g.iso15118.d20.messages.common_messages import Authorization
from v2g.observe import Observe
from v2g.pki.keys import save_secret

STATION = """[station]
url = "wss://localhost:1/ocpp"
identity = "CS-V2G-0001"
store = "station.sqlite3"
[station.tls]
ca = "{pki}/csms/root.pem"
chain = "{pki}/csms/station/chain.pem"
key = "{pki}/csms/station/leaf.key"
"""


async def test_a_meters_key_that_could_not_sign_its_readings_is_refused_at_the_start(
    pki: PkiTree, tmp_path: Path
) -> None:
    """OCMF has no method for it: each session would end without a settlement."""
    text = written(pki, BENCH).replace("/meter/", "/secc/")
    clock = Clock()
    with pytest.raises(ConfigError, match="secp256r1"):
        async with assemble(load_config(text, name=str(tmp_path / "secc.toml")), clock, EventLog("secc", clock)):
            pass


async def test_a_bench_needs_no_wires(pki: PkiTree, tmp_path: Path) -> None:
    async with made(tmp_path, pki, BENCH) as charger:
        (controller,) = charger.controllers
        assert controller.wires is None
        assert isinstance(controller.hardware, BenchEvse)


@pytest.mark.parametrize("use", ["ChargingStationCertificate", "V2GCertificate"])
async def test_a_start_completes_a_renewal_that_a_kill_has_interrupted(pki: PkiTree, tmp_path: Path, use: str) -> None:
    """Between the two files that belong together: neither TLS end could use them."""
    folder = "csms/station" if use == "ChargingStationCertificate" else "secc"
    new, key = (pki.path(f"{folder}/{name}").read_bytes() for name in ("chain.pem", "leaf.key"))
    own = tmp_path / "own.pem", tmp_path / "own.key"
    own[0].write_bytes(pki.path("vehicle/chain.pem").read_bytes())
    (tmp_path / "certificates").mkdir()
    (tmp_path / "certificates" / f"{use}.new.pem").write_bytes(new)
    for file in (own[1], tmp_path / "certificates" / f"{use}.new.key"):
        save_secret(file, key)
    text = written(pki, BENCH + STATION.format(pki=pki.directory))
    for name, file in zip(("chain.pem", "leaf.key"), own, strict=True):
        text = text.replace(str(pki.path(f"{folder}/{name}")), str(file))
    config, clock = load_config(text, name=str(tmp_path / "secc.toml")), Clock()
    async with assemble(config, clock, EventLog("secc", clock)):
        assert own[0].read_bytes() == new
    assert list((tmp_path / "certificates").glob("*.new.*")) == []


async def test_a_charger_that_cannot_serve_does_not_report_to_its_csms(pki: PkiTree, tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as other:
        other.bind(("::1", 0))
        port = other.getsockname()[1]
        extra = f"{BENCH}[link]\ninterface = 'lo'\n[sdp]\nport = {port}\n{STATION.format(pki=pki.directory)}"
        async with made(tmp_path, pki, extra, reports=False) as charger:
            seen: list[Observe] = []
            charger.observe.on_event(seen.append)
            with pytest.raises(TransportError, match=f"UDP port {port} of lo"):
                await charger.serve(lambda stream: stream)
        assert [each.name for each in seen if each.stage == "ocpp"] == []


async def until_ready(charger: Charger) -> None:
    """Serve vehicles until the event says that it does, for 60 s at the most."""
    ready = asyncio.Event()
    charger.observe.on_event(lambda event: ready.set() if (event.stage, event.name) == ("session", "ready") else None)
    serving = asyncio.create_task(charger.serve(lambda stream: stream))
    try:
        async with asyncio.timeout(60):
            await ready.wait()
    finally:
        charger.restarting.due.set()
        await serving


async def test_the_back_end_can_read_the_key_of_each_evses_meter(pki: PkiTree, tmp_path: Path) -> None:
    """FiscalMetering.PublicKey, which goes with signed readings."""
    evses = "".join(
        f"[[evses]]\nevse_id = 'DEV2GE0000{number}'\nsdp.port = 0\nhardware.backend = 'bench'\n"
        f"meter = {{ chain = '{shutil.copy(pki.path('meter/chain.pem'), tmp_path / f'meter-{number}.pem')}',"
        f" key = '{pki.path('meter/leaf.key')}' }}\n"
        for number in (1, 2)
    )
    station = '[station]\nurl = "ws://127.0.0.1:{}/ocpp"\nidentity = "CS-1"\nstore = "station.db"\n'
    async with backend() as csms, made(tmp_path, pki, BENCH + station.format(csms.port) + evses):
        await csms.wait("BootNotification")
        data = [
            {"component": {"name": "FiscalMetering", "evse": {"id": number}}, "variable": {"name": "PublicKey"}}
            for number in (1, 2)
        ]
        answer = await csms.ask("GetVariables", get_variable_data=data)
    first, second = (each["attribute_value"] for each in answer.get_variable_result)
    assert first == second != ""


async def test_a_charger_is_ready_though_its_back_end_is_away(pki: PkiTree, tmp_path: Path) -> None:
    """And collects cycles of garbage, which it does not during its start."""
    was = gc.isenabled()
    gc.disable()
    try:
        async with made(tmp_path, pki, BENCH + "[sdp]\nport = 0\n" + STATION.format(pki=pki.directory)) as charger:
            await until_ready(charger)
            assert charger.station is not None
            assert not charger.station.online.is_set()
            assert gc.isenabled()
    finally:
        gc.unfreeze()
        (gc.enable if was else gc.disable)()


async def test_a_restart_does_not_wait_for_an_interface(
    pki: PkiTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The powerline modem is dead, and the back end asks for a reset (B11)."""
    monkeypatch.setattr(interfaces, "usable", lambda _: None)
    async with made(tmp_path, pki, BENCH + "[sdp]\nport = 0\n") as charger:
        charger.restarting.due.set()
        async with asyncio.timeout(60):
            await charger.serve(lambda stream: stream)


async def test_the_signal_file_holds_before_a_back_end_speaks(pki: PkiTree, tmp_path: Path) -> None:
    (tmp_path / "grid.json").write_text(SIGNAL)
    async with made(tmp_path, pki, BENCH + '[site]\nsignal_file = "grid.json"\n') as charger:
        grid = charger.controllers[0].grid
        site, operator, *_ = grid.limits
        assert site.charge_w == 40_000
        assert (operator.discharge_w, operator.version) == (8_000, 7)
        assert grid.tariff is not None


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ("", "link.medium is missing"),
        (BENCH + "[link.slac]\n", "link.slac needs a control pilot"),
        (BENCH + "[sdp]\nwithout_tls = true\n", "sdp.without_tls: iso15118-20 does not allow connections without TLS"),
        (BENCH + '[site]\nsignal_file = "nowhere.json"\n', "nowhere.json: No such file"),
    ],
)
async def test_what_cannot_work_is_refused_by_name(pki: PkiTree, tmp_path: Path, extra: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        async with made(tmp_path, pki, extra):
            pass


@pytest.mark.parametrize(("certificate", "version", "tls"), [(b"", "none", False), (b"leaf", "TLSv1.3", True)])
async def test_who_has_shown_no_certificate_has_no_tls_and_is_offered_no_plug_and_charge(
    pki: PkiTree, tmp_path: Path, certificate: bytes, version: str, *, tls: bool
) -> None:
    async with made(tmp_path, pki, BENCH) as charger:
        (controller,) = charger.controllers
        sessions = replace(controller.sessions, config=replace(controller.config, security_profile="interop"))
        own, editions = controller.transport.credentials[0], tuple(controller.editions.values())
        session = sessions.conversation(own, certificate, version, editions, online=False, central=False).session
        session.start(0.0, 0)
        offered = session.request_context(waited=False).authorization
    assert (Authorization.PnC in offered) is tls


@pytest.mark.requirement("R166", "R168")
async def test_a_slow_start_is_no_hang_and_a_hang_after_it_is(
    pki: PkiTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small computer imports for seconds before it serves."""
    recover = Charger.recover
    monkeypatch.setattr(Charger, "recover", lambda charger: (time.sleep(0.5), recover(charger)))
    async with made(tmp_path, pki, BENCH + "watch.hung_s = 0.2\n") as charger:
        hardware = charger.controllers[0].hardware
        for _ in range(3):
            await asyncio.sleep(0)
        assert not hardware.faults
        time.sleep(0.5)
        async with asyncio.timeout(60):
            while tuple(hardware.faults) != ("charger_failed",):
                await asyncio.sleep(0.001)
