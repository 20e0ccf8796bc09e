"""Our own station, simulated, and the tester for stations in one process, in simulated time."""

import asyncio
import contextlib
import json
import ssl
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.virtual_time import VirtualLoop
from v2g.io.runtime.clock import Clock, ClockConfig
from v2g.io.tls.files import TlsFiles
from v2g.io.websocket.client import OcppSocket
from v2g.ocpp.routes import Version
from v2g.pki.issue import Issuer, IssueRequest, Subject, issue
from v2g.pki.keys import private_pem, save_secret
from v2g.pki.profile import Generation, Role
from v2g_station.simulator.behaviour import QUIET, Behaviour, TerminalFaults
from v2g_station.simulator.fleet import Simulator, StationControl, StationFleet
from v2g_station.simulator.grid import GridPlan
from v2g_testkit.ocpp.case import Inconclusive, NotApplicable, OcppCase
from v2g_testkit.ocpp.certificates import Authority
from v2g_testkit.ocpp.declaration import Declaration
from v2g_testkit.ocpp.driver import Step
from v2g_testkit.ocpp.listener import Listener
from v2g_testkit.ocpp.station_cases.catalogue import STATION_CASES
from v2g_testkit.ocpp.station_tester import StationTest, StationTester
from v2g_testkit.ocpp.v16.station import StationTester16

ABSENT = {
    "TC_B_15_CS": "it supports SummaryInventory",
    "TC_B_28_CS": "it resets single EVSEs",
    "TC_B_29_CS": "it resets single EVSEs",
    "TC_C_05_CS": "cables can be plugged in at any time",
    "TC_C_47_CS": "it ends all transactions",
    "TC_C_48_CS": "it ends all transactions",
    "TC_E_11_CS": "its meters do not sign",
    "TC_E_24_CS": "its cables are fixed",
    "TC_E_114_CS": "it has ResumptionTimeout",
    "TC_F_05_CS": "its cables are fixed",
    "TC_F_06_CS": "its cables are fixed",
    "TC_F_07_CS": "its cables are fixed",
    "TC_F_10_CS": "its cables are fixed",
    "TC_F_27_CS": "it has combined certificates",
    "TC_G_20_CS": "its cables are fixed",
    "TC_H_13_CS": "it takes reservations without an EVSE",
    "TC_I_114_CS": "it supports tariffs with conditions",
    "TC_J_04_CS": "its meters do not sign",
    "TC_J_11_CS": "its meters do not sign",
    "TC_K_15_CS": "it has smart charging",
    "TC_K_38_CS": "it has smart charging",
    "TC_L_11_CS": "it cancels updates",
    "TC_L_12_CS": "it downloads during transactions",
    "TC_L_13_CS": "it downloads during transactions",
    "TC_L_16_CS": "it installs after transactions",
    "TC_M_09_CS": "it takes any root of a back end",
    "TC_M_15_CS": "it has no V2G certificate",
    "TC_N_44_CS": "its monitors can all be cleared",
    "TC_N_104_CS": "its variables have no targets",
    "TC_O_18_CS": "it supports all states",
    "TC_O_17_CS": "it supports all priorities",
    "TC_Q_103_CS": "it renegotiates services",
    "TC_Q_122_CS": "it does not measure the load of the building",
    "TC_Q_126_CS": "its EVSEs can sleep",
}
"""Cases for stations that lack something that ours has."""

BEHAVIOUR = msgspec.structs.replace(
    QUIET,
    bidirectional=1.0,
    grid=GridPlan(max_var=50_000),
    card_payments=1.0,
    terminal=TerminalFaults(declined=0.0, unreachable=0.0),
)
"""What our station can do beyond charging; nobody comes by himself."""
_DOWNGRADES = ("TC_B_110_CS", "TC_B_111_CS", "TC_B_112_CS", "TC_B_113_CS")
OTHER: dict[str, Any] = {
    "behaviour": msgspec.structs.replace(BEHAVIOUR, detachable_cables=True, signed_readings=True),
    "supports": {
        "persistent cache": True, "detachable cable": True, "connector lock": True, "choice of transactions": True,
        "signed readings": True,
    },
}  # fmt: skip
"""Another station of ours: its cables are detachable, its meters sign, and drivers choose what a master pass ends."""
OF_OTHER = (
    "TC_C_47_CS", "TC_C_48_CS", "TC_E_11_CS", "TC_E_24_CS", "TC_F_05_CS", "TC_F_06_CS", "TC_F_07_CS", "TC_F_10_CS",
    "TC_G_20_CS", "TC_J_04_CS", "TC_J_11_CS",
)  # fmt: skip
"""Cases that apply to it only."""
BY_PROFILE = {
    1: ("TC_A_01_CS", "TC_A_09_CS", "TC_A_10_CS", "TC_A_12_CS", "TC_A_19_CS", "TC_A_20_CS", "TC_A_21_CS",
        "TC_B_109_CS", "V2G-A-02-CS"),
    2: ("TC_A_01_CS", "TC_A_04_CS", "TC_A_05_CS", "TC_A_06_CS", "TC_A_09_CS", "TC_A_10_CS", "TC_A_12_CS", "TC_A_21_CS",
        "TC_A_22_CS", "TC_B_50_CS", "TC_B_109_CS", "V2G-A-02-CS", *_DOWNGRADES),
    3: ("TC_A_04_CS", "TC_A_05_CS", "TC_A_06_CS", "TC_A_07_CS", "TC_A_11_CS", "TC_A_12_CS", "TC_A_13_CS", "TC_A_14_CS",
        "TC_A_15_CS", "TC_A_22_CS", "TC_A_23_CS", "TC_B_50_CS", "TC_M_23_CS", *_DOWNGRADES),
}  # fmt: skip
"""Cases that need a security profile: which apply in which."""
_MIGRATION = frozenset({"TC_B_45_CS", "TC_B_46_CS", "TC_B_49_CS"})
_SECURED = frozenset(case for cases in BY_PROFILE.values() for case in cases)


def is_absent(case: str, security_profile: int) -> bool:
    """Return whether a case does not apply to our station."""
    return case in ABSENT or (case in _SECURED and case not in BY_PROFILE[security_profile])


def cases_of(block: str, security_profile: int = 1) -> list[OcppCase[StationTest]]:
    """Return the cases of a block: with TLS only those to which it makes a difference."""
    cases = [case for case in STATION_CASES if case.group == block]
    return cases if security_profile == 1 else [case for case in cases if case.id in _SECURED | _MIGRATION]


FEATURES = {
    "persistent cache": True,
    "security upgrade": True,
    "no station certificate": True,
    "fallback of network profiles": True,
}
IDENTITY = "SIM1"
PASSWORD = "simulated-password"
_DAY_MS = 86_400_000
BEGIN_MS = (int(time.time() * 1000) // _DAY_MS - 1) * _DAY_MS + 73_800_000
"""Yesterday, 20:30 UTC: the dates of certificates are checked by OpenSSL, which knows no simulated time."""


class DirectDriver:
    """Carries out steps at a simulated station."""

    def __init__(self, control: StationControl) -> None:
        self._control = control

    async def do(self, step: Step) -> None:
        """See Driver."""
        answer = self._control.carry_out(step.line)
        if answer.startswith("no"):
            raise NotApplicable(answer)
        if answer != "ok":
            raise Inconclusive(answer)


Frame = list[Any]
Change = Callable[[str, Frame], list[Frame]]
"""What becomes of a frame `from` or `to` the station: itself, none, others. It may keep what it has seen."""


ANSWERS: dict[str, Any] = {"Authorize": {"idTokenInfo": {"status": "Accepted"}}}
"""What the station is answered to a request that is dropped, by action; nothing else."""


class ChangedSocket(OcppSocket):
    """A connection whose frames are changed on the way."""

    __slots__ = ("_change", "_due", "_inner", "_lag_s")

    def __init__(self, inner: OcppSocket, change: Change, lag_s: float = 0.0) -> None:
        super().__init__(None, inner.identity, inner.version)  # type: ignore[arg-type]  # `inner` has the connection
        self._inner, self._change, self._lag_s = inner, change, lag_s
        self._due: deque[str] = deque()

    async def send(self, text: str) -> None:
        """See OcppSocket."""
        for frame in self._change("to", json.loads(text)):
            await self._inner.send(json.dumps(frame))

    async def receive(self) -> str:
        """See OcppSocket."""
        await asyncio.sleep(self._lag_s)
        while not self._due:
            frame = json.loads(await self._inner.receive())
            frames = self._change("from", frame)
            self._due.extend(map(json.dumps, frames))
            if not frames and frame[0] == 2:  # lost on the way, which the station does not know
                await self._inner.send(json.dumps([3, frame[1], ANSWERS.get(frame[2], {})]))
        return self._due.popleft()

    async def close(self, reason: str = "", *, code: int = 1000) -> None:
        """See OcppSocket."""
        await self._inner.close(reason, code=code)


@contextlib.asynccontextmanager
async def station_under_test(
    version: Version = "2.0.1",
    *,
    change: Change = lambda _, frame: [frame],
    security_profile: int = 1,
    tls: Callable[[ssl.SSLContext], None] = lambda _: None,
    behaviour: Behaviour = BEHAVIOUR,
    lag_s: float = 0.0,
    steps: Callable[[Step], Step] = lambda step: step,
    slow_s: float = 0.0,
    **declared: Any,
) -> AsyncIterator[StationTester]:
    """Connect a simulated station with two EVSEs to a tester, with its frames changed on the way.

    `tls` changes the station's TLS context, of security profiles 2 and 3, `steps` what is done at it. It takes `lag_s`
    for each of its frames, and `slow_s` for each card.
    """
    clock = Clock(ClockConfig(origin_monotonic=asyncio.get_running_loop().time(), origin_utc_ms=BEGIN_MS))
    holder: list[StationControl] = []

    class Late:
        async def do(self, step: Step) -> None:
            if slow_s and step.action == "present":
                asyncio.get_running_loop().call_later(slow_s, holder[0].carry_out, steps(step).line)
            else:
                await DirectDriver(holder[0]).do(steps(step))

    async def handle(socket: OcppSocket) -> None:
        await tester.serve(ChangedSocket(socket, change, lag_s))

    with tempfile.TemporaryDirectory() as folder:
        image, broken = Path(folder) / "image", Path(folder) / "broken"
        image.write_bytes(b"0.2.0\nV2G conformance")
        broken.write_bytes(b"")
        root, chain = contract_files(Path(folder))
        files = {"firmware": image, "broken_firmware": broken, "contract_root": root}
        declaration = Declaration(**{"evses": 2, "supports": FEATURES} | files | declared)
        tester = (StationTester16 if version == "1.6" else StationTester)(declaration, Late(), clock)
        loop = asyncio.get_running_loop()
        if isinstance(loop, VirtualLoop):
            loop.passes_while(lambda: tester.files.holds)
        ca = Path(folder) / "ca.pem"
        server = station = None
        if security_profile > 1:
            root = Authority("CSMSRootCertificate", tester.now())
            ca.write_text(root.pem)
            tester.authority = root if security_profile == 3 else None
            server = root.server("127.0.0.1", clients=tester.authority)
            station = _station_context(root, ca, IDENTITY if security_profile == 3 else "")
            tls(station)
        tester.listener = Listener(
            "127.0.0.1", 0, handle, tester.admit, path="/ocpp", versions=(version,), context=server
        )
        await tester.listener.open()
        fleet = StationFleet(
            url=f"{'wss' if server else 'ws'}://127.0.0.1:{tester.listener.port}/ocpp",
            versions=(version,),
            behaviour=behaviour,
            password=PASSWORD if security_profile < 3 else None,
            certificate=str(ca.with_name("chain.pem")) if security_profile == 3 else None,
            ca=ca if server else None,
            contract=chain,
        )
        simulator = Simulator(fleet, lambda _: station, clock=clock)
        holder.append(StationControl({each.identity: each for each in simulator.stations}))
        running = asyncio.create_task(simulator.run(None))
        try:
            await tester.find(60)
            yield tester
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await tester.listener.close()
            tester.files.stop()


def _station_context(root: Authority, ca: Path, identity: str) -> ssl.SSLContext:
    """Return the station's TLS, with a certificate if it has an identity."""
    if not identity:
        return TlsFiles(ca=ca).context()
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, identity)])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    chain, secret = ca.with_name("chain.pem"), ca.with_name("key.pem")
    chain.write_text(root.signed(request.public_bytes(Encoding.PEM).decode()))
    save_secret(secret, private_pem(key))
    return TlsFiles(ca=ca, chain=chain, key=secret).context()


def contract_files(folder: Path) -> tuple[Path, Path]:
    """Write the root of a contract and the contract's chain, PEM; return the files."""
    at = datetime.fromtimestamp(BEGIN_MS / 1000, UTC)
    made: list[x509.Certificate] = []
    issuer: Issuer | None = None
    for serial, role in enumerate((Role.MO_ROOT, Role.MO_SUB1, Role.MO_SUB2, Role.CONTRACT), 1):
        key = ec.generate_private_key(ec.SECP256R1())
        request = IssueRequest(
            role=role,
            subject=Subject(
                common_name="DEV2GC00000001" if role is Role.CONTRACT else role.value, organization="V2G", country="DE"
            ),
            public_key=key.public_key(),
            serial=serial,
            not_before=at - timedelta(days=1),
            not_after=at + timedelta(days=30),
            ocsp_url="http://ocsp.example/mo",
            generation=Generation.ISO15118_2,
        )
        made.append(issue(request, issuer or Issuer(None, key)))
        issuer = Issuer(made[-1], key)
    root, chain = folder / "mo_root.pem", folder / "contract.pem"
    root.write_bytes(made[0].public_bytes(Encoding.PEM))
    chain.write_bytes(b"".join(each.public_bytes(Encoding.PEM) for each in reversed(made[1:])))
    return root, chain


def in_virtual_time(work: Coroutine[Any, Any, None]) -> None:
    """Run to the end, without waiting."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(waits=True, disks=True)) as runner:
        runner.run(work)
