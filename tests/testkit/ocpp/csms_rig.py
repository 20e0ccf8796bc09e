"""Our own back end and the tester for back ends, joined in memory, or by sockets with a security profile.

Frames of the back end, and attempts to connect, may be changed on the way: a faulty back end.
"""

import asyncio
import contextlib
import json
import tempfile
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Literal

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from websockets.exceptions import ConnectionClosedOK

from csms.admission.work import StationAdmissions
from csms.config import FurtherListener, StationAuthority
from csms.grid.source import GridSource
from csms.payments.config import Payments
from csms.smart_charging.work import SmartCharging
from csms.tariffs import store as tariffs
from csms.tariffs.store import Scope
from csms.tokens.rules import Allowance, Group, Terms, TokenEntry
from pki_tools.tree import PkiTree
from tests.csms.api.support import ApiClient, serving
from tests.csms.backend import Backend
from tests.csms.fixtures import Start
from tests.csms.network import listening
from tests.csms.scripted_station import Wire
from tests.csms.support import EMAID, grid_signal
from tests.pki.forge_chains import rsa_key
from tests.testkit.ocpp.csms_stored import Stored
from v2g.energy.price_plan import Charge, PricePlan, Rate
from v2g.errors import TransportError
from v2g.io.http.client import HttpAnswer
from v2g.io.runtime.clock import Clock
from v2g.io.websocket.client import OcppSocket
from v2g.ocpp.routes import Version
from v2g.ocpp.times import format_time
from v2g.pki.issue import Issuer, IssueRequest, Subject, issue
from v2g.pki.keys import load_private_key, private_pem, save_secret
from v2g.pki.profile import Generation
from v2g.pki.profile import Role as CertificateRole
from v2g.pki.reference import KeyReference
from v2g_testkit.cases.case import Result
from v2g_testkit.ocpp.attempts import Attempt, Sockets
from v2g_testkit.ocpp.case import NotApplicable, OcppCase
from v2g_testkit.ocpp.certificates import Authority, SigningRequest
from v2g_testkit.ocpp.csms_cases.block_k import NEEDS
from v2g_testkit.ocpp.csms_cases.catalogue import CSMS_CASES
from v2g_testkit.ocpp.csms_cases.contracts import CONTRACTS
from v2g_testkit.ocpp.csms_tester import CsmsTest, CsmsTester
from v2g_testkit.ocpp.declaration import CertificateFiles, CsmsDeclaration, StationIdentity, Token, Upgrade
from v2g_testkit.ocpp.operator import V2gOperator
from v2g_testkit.ocpp.v16.csms import CsmsTester16

DECLARED = CsmsDeclaration(seconds=3)

Change = Callable[[str, list[Any]], list[Any] | None]
"""Takes the action and a frame of the back end, returns the one that reaches the station.

None: a request gets lost, on an answer the connection.
"""
Edit = Callable[[Attempt, CsmsDeclaration], Attempt]
"""Takes an attempt to connect, returns the one that reaches the back end."""


def _entry(token: Token, status: Literal["Accepted", "Blocked"] = "Accepted", **terms: Any) -> TokenEntry:
    transfer = ("DC", "DC_BPT") if token is DECLARED.token else ()
    return TokenEntry(id_token=token.id, type=token.type, status=status, terms=Terms(**terms), energy_transfer=transfer)


TOKENS = (
    _entry(DECLARED.token, group_id=DECLARED.group),
    _entry(DECLARED.group_token, group_id=DECLARED.group),
    _entry(DECLARED.master_token, group_id=DECLARED.master_group),
    _entry(DECLARED.blocked_token, "Blocked"),
    _entry(DECLARED.expired_token, expires_ms=1_600_000_000_000),
    _entry(DECLARED.tariff_token),
    TokenEntry(id_token=EMAID),
    _entry(DECLARED.prepaid_token, allowances=(Allowance(period="total", cost="100"),)),
    _entry(DECLARED.no_credit_token, allowances=(Allowance(period="total", cost="0"),)),
)
GROUPS = (Group(group_id=DECLARED.group), Group(group_id=DECLARED.master_group, master_pass=True))
PAYMENTS = Payments(terminals=True, receipt_url="https://pay.example/receipts/{receipt_id}")
PRICE = PricePlan(id="flat", currency="EUR", energy=Charge(rates=(Rate(price="0.5"),)))


class _StationEnd:
    """The station's end of a websocket in memory."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def send(self, message: str) -> None:
        """Give the back end a frame."""
        self._wire.push(message)

    async def recv(self) -> str:
        """Return a frame of the back end."""
        text = await self._wire.sent.get()
        if text is None:
            raise ConnectionClosedOK(None, None)
        return text

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """End the connection."""
        self._wire.push(None)


class _Changed(OcppSocket):
    """A connection whose frames of the back end are changed on the way."""

    __slots__ = ("_asked", "_change", "_inner")

    def __init__(self, inner: OcppSocket, change: Change) -> None:
        super().__init__(None, inner.identity, inner.version)  # type: ignore[arg-type]  # `inner` has the connection
        self._inner, self._change = inner, change
        self._asked: dict[str, str] = {}

    async def send(self, text: str) -> None:
        """See OcppSocket."""
        match json.loads(text):
            case [2, str() as number, str() as action, _]:
                self._asked[number] = action
        await self._inner.send(text)

    async def receive(self) -> str:
        """See OcppSocket."""
        while True:
            frame = json.loads(await self._inner.receive())
            changed = self._change(frame[2] if frame[0] == 2 else self._asked.get(frame[1], ""), frame)
            if changed is not None:
                return json.dumps(changed)
            if frame[0] != 2:
                raise TransportError("the connection ended")  # which nobody has to wait for
            await self._inner.send(json.dumps([3, frame[1], {"status": "Accepted"}]))

    async def close(self, reason: str = "", *, code: int = 1000) -> None:
        """See OcppSocket."""
        await self._inner.close(reason, code=code)


class _Memory:
    """Connections in memory, which have neither TLS nor passwords."""

    def __init__(self, csms: Backend, change: Change) -> None:
        self._csms, self._change = csms, change
        self.sessions: list[asyncio.Task[None]] = []

    async def connect(self, attempt: Attempt, version: Version) -> OcppSocket:
        """See Network."""
        wire, identity = Wire(), attempt.station.identity
        session = asyncio.create_task(self._csms.server.serve(OcppSocket(wire, identity, version)))
        self.sessions.append(session)
        await wire.served(session)
        return _Changed(OcppSocket(_StationEnd(wire), identity, version), self._change)

    async def agreed(self, attempt: Attempt) -> str | None:
        """See Network."""
        raise NotApplicable("there is no WebSocket in memory")

    async def certificate(self, attempt: Attempt) -> bytes:
        """See Network."""
        raise TransportError("there is no TLS in memory")


class FaultyNetwork(Sockets):
    """The network with a back end that takes some attempts for others."""

    def __init__(self, declared: CsmsDeclaration, change: Change, edit: Edit) -> None:
        self._declared, self._change, self._edit = declared, change, edit

    async def connect(self, attempt: Attempt, version: Version) -> OcppSocket:
        """See Network."""
        return _Changed(await super().connect(self._edit(attempt, self._declared), version), self._change)

    async def agreed(self, attempt: Attempt) -> str | None:
        """See Network."""
        return await super().agreed(self._edit(attempt, self._declared))

    async def certificate(self, attempt: Attempt) -> bytes:
        """See Network."""
        return await super().certificate(self._edit(attempt, self._declared))


class ApiOperator(V2gOperator):
    """Our HTTP API in the same process."""

    def __init__(self, client: ApiClient, *, as_named: bool = False) -> None:
        async def exchange(method: str, path: str, body: bytes) -> HttpAnswer:
            answer = await client(method, path, body)
            return HttpAnswer(answer.status, answer.body, answer.headers)

        super().__init__(exchange, as_named=as_named)


class CheckedTester(CsmsTester):
    """Also looks at what the back end has stored."""

    def __init__(self, stored: Stored | None, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._stored = stored

    async def run(self, case: OcppCase[CsmsTest]) -> Result:
        """See CsmsTester. Raises AssertionError."""
        result = await super().run(case)
        await self.check_stored()
        return result

    async def check_stored(self) -> None:
        """Compare the store with the frames of the latest case. Raises AssertionError."""
        if self._stored is not None:
            await self._stored.check(self.frames)


@contextlib.asynccontextmanager
async def csms_under_test(
    backend: Start,
    version: Version = "2.0.1",
    change: Change | None = None,
    *,
    compared: bool = False,
    signal: bool = False,
    prices: bool = True,
    declared: CsmsDeclaration = DECLARED,
    **config: Any,
) -> AsyncIterator[CheckedTester]:
    """Start a back end that knows the declared tokens; `change` changes its frames, `config` its configuration.

    `signal`: it has a grid signal. Without this, and without `prices`, it has no schedules for vehicles.
    Without `change`, or `compared` with it, what it has stored is compared with the frames after each case.
    """
    async with _started(backend, prices=prices, **config) as (csms, operator):
        if signal:
            now_ms = csms.clock.utc_ms()
            await csms.services[GridSource].offer(grid_signal(now_ms=now_ms), "test")
        network = _Memory(csms, change or (lambda _, frame: frame))
        stored = Stored(csms) if change is None or compared else None
        yield CheckedTester(stored, declared, operator, network, csms.clock, version=version)
        for each in network.sessions:
            await asyncio.wait_for(each, 60)


@contextlib.asynccontextmanager
async def csms_16_under_test(backend: Start) -> AsyncIterator[CsmsTester16]:
    """Start a back end that knows the declared tokens, for a station of OCPP 1.6."""
    async with _started(backend, as_named=True) as (csms, operator):
        network = _Memory(csms, lambda _, frame: frame)
        yield CsmsTester16(DECLARED, operator, network, csms.clock, version="1.6")
        for each in network.sessions:
            await asyncio.wait_for(each, 60)


@contextlib.asynccontextmanager
async def _started(
    backend: Start, *, prices: bool = True, as_named: bool = False, **changes: Any
) -> AsyncIterator[tuple[Backend, ApiOperator]]:
    with tempfile.TemporaryDirectory() as folder:
        changes["v2g_ca"] = _v2g_authority(Path(folder))
        async with (
            backend(signs=True, tokens=TOKENS, token_groups=GROUPS, payments=PAYMENTS, **changes) as csms,
            serving(csms) as client,
        ):
            await csms.services.store.run(tariffs.add_plan, PRICE, 0)
            own = Scope(token_type=DECLARED.tariff_token.type, id_token=DECLARED.tariff_token.id)
            for scope in (Scope(), own) if prices else ():
                await csms.services.store.run(tariffs.assign, scope, PRICE.id, 0)
            csms.clock.start()  # the tester goes by it, too: they must not drift apart
            restoring = asyncio.create_task(SmartCharging(csms.services).run())
            yield csms, ApiOperator(client, as_named=as_named)
            restoring.cancel()
            await asyncio.gather(restoring, return_exceptions=True)


def _v2g_authority(folder: Path) -> StationAuthority:
    """Return an authority for certificates of ISO 15118-2."""
    key = ec.generate_private_key(ec.SECP256R1())
    root = IssueRequest(
        role=CertificateRole.V2G_ROOT,
        subject=Subject(common_name="V2G root", organization="Operator", country="DE", domain="V2G"),
        public_key=key.public_key(),
        serial=4712,
        not_before=datetime.now(UTC) - timedelta(days=1),
        generation=Generation.ISO15118_2,
    )
    chain, secret = folder / "v2g.pem", folder / "v2g.key"
    chain.write_bytes(issue(root, Issuer(None, key)).public_bytes(Encoding.PEM))
    save_secret(secret, private_pem(key))
    reference = KeyReference.from_text(str(secret), folder=folder)
    return StationAuthority(chain=chain, key=reference, ocsp_url="http://ocsp.example/")


SCHEDULED = frozenset(case.id for case in CSMS_CASES if NEEDS[0] in case.needs)
"""Cases for back ends with schedules for vehicles."""


UNPRICED = frozenset({"TC_K_126_CSMS"})
"""For a back end without schedules for vehicles."""


CERTIFIED = frozenset(case.id for case in CONTRACTS.cases)
"""Cases that need certificates of vehicles."""


# -- with a security profile

Profile = Literal[1, 2, 3]
_PASSWORDS = "A_01 A_02 A_03 A_09 A_10 A_19"
BY_PROFILE: dict[Profile, str] = {
    1: f"{_PASSWORDS} B_58",
    2: f"{_PASSWORDS} A_04 A_06 B_58",
    3: "A_04 A_06 A_07 A_08 B_58",
}
"""Cases that need a security profile, or a network: which apply in which."""
SECURED = frozenset(f"TC_{each}_CSMS" for names in BY_PROFILE.values() for each in names.split())
SECURED_16: dict[str, tuple[Profile, ...]] = {
    "TC_073_CSMS": (1, 2), "TC_085_CSMS": (1, 2), "TC_086_CSMS": (2, 3), "TC_087_CSMS": (3,), "TC_088_CSMS": (1, 2, 3),
    "V2G-01-CSMS16": (2, 3), "V2G-02-CSMS16": (3,),
}  # fmt: skip
"""The same of OCPP 1.6."""
PASSWORD = "a-Password_of=32*characters+4321"
OTHER = "CS-V2G-0002"
"""The station whose security profile is raised."""


class Secured:
    """What back ends and stations with TLS have, in a folder."""

    def __init__(self, pki: PkiTree, folder: Path) -> None:
        self.root = pki.path("csms/root.pem")
        self._folder = folder
        self._root = pki.path("csms/root.pem"), pki.path("csms/root.key")
        self._authority = Authority("CSMSRootCertificate", format_time(Clock().utc_ms()), files=self._root)
        self.own = CertificateFiles(chain=pki.path("csms/station/chain.pem"), key=pki.path("csms/station/leaf.key"))

    def certificate(self, name: str, identity: str, **how: Any) -> CertificateFiles:
        """Return a new certificate of a station; `how` is what `Authority.signed` takes."""
        request = SigningRequest(identity)
        folder = self._folder / name
        folder.mkdir()
        chain, key = request.save(folder, self._authority.signed(request.pem, **how))
        return CertificateFiles(chain=chain, key=key)

    def rsa(self) -> dict[str, Path]:
        """Return the back end's second certificate and its key."""
        root, key = x509.load_pem_x509_certificate(self._root[0].read_bytes()), rsa_key(2048)
        request = IssueRequest(
            role=CertificateRole.CSMS_SERVER,
            subject=Subject(common_name="localhost", organization="Operator", country="DE"),
            public_key=key.public_key(),
            serial=4711,
            not_before=datetime.now(UTC) - timedelta(days=1),
            hosts=(IPv4Address("127.0.0.1"),),
        )
        chain, secret = self._folder / "rsa.pem", self._folder / "rsa.key"
        chain.write_bytes(issue(request, Issuer(root, load_private_key(self._root[1]))).public_bytes(Encoding.PEM))
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        save_secret(secret, pem)
        return {"rsa_certificate": chain, "rsa_key": secret}


@contextlib.asynccontextmanager
async def secured_csms_under_test(
    backend: Start,
    secured: Secured,
    security_profile: Profile,
    version: Version = "2.0.1",
    change: Change = lambda _, frame: frame,
    edit: Edit = lambda attempt, _: attempt,
) -> AsyncIterator[CsmsTester]:
    """Start a back end that listens with this profile; `edit` changes attempts to connect."""
    ocpp: dict[str, Any] = {"security_profile": security_profile, "port": 0, **secured.rsa()}
    if security_profile < 3:
        ocpp["listeners"] = (FurtherListener(port=0, security_profile=2 if security_profile == 1 else 3),)
    kind = CsmsTester16 if version == "1.6" else CsmsTester
    named = version == "1.6"
    async with _started(backend, as_named=named, ocpp=ocpp) as (csms, operator), listening(csms) as (port, *others):
        for identity in (DECLARED.station.identity, OTHER):
            await csms.services[StationAdmissions].set_password(identity, PASSWORD)
        own: dict[str, Any] = {"password": PASSWORD}
        declared: dict[str, Any] = {}
        if security_profile == 3:
            own = msgspec.structs.asdict(secured.own)
            expired = secured.certificate("expired", DECLARED.station.identity, last_day=-1)
            declared["invalid_certificates"] = expired, secured.certificate("other", OTHER)
        else:
            more = msgspec.structs.asdict(secured.certificate("raised", OTHER)) if security_profile == 2 else {}
            station = StationIdentity(identity=OTHER, password=PASSWORD, **more)
            declared["upgrade"] = Upgrade(station=station, url=f"wss://127.0.0.1:{others[0]}/ocpp", ca=secured.root)
        declaration = msgspec.structs.replace(
            DECLARED,
            url=f"{'ws' if security_profile == 1 else 'wss'}://127.0.0.1:{port}/ocpp",
            ca=None if security_profile == 1 else secured.root,
            station=msgspec.structs.replace(DECLARED.station, **own),
            **declared,
        )
        yield kind(declaration, operator, FaultyNetwork(declaration, change, edit), Clock(), version=version)
