"""Vehicle and charger of DIN 70121 and ISO 15118-2 joined in memory, without and with contracts."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from evcc.session.contracts import Contract, Provisioning
from evcc.session.d2.session import Vehicle2
from evcc.session.din.session import DinVehicle
from evcc.session.edition import Connection
from evcc.session.settings import AuthorizationConfig, ProgramStep, SessionConfig
from pki_tools.tree import PkiTree
from secc.session import ports as se
from secc.session.config import EnergyService, SeccConfig
from secc.session.d2.session import Iso2Session
from secc.session.din.session import DinSession
from tests.iso15118.d20.contracts import own_contract
from tests.sessions.joined import Joined, counter
from v2g.energy.limits import OPERATOR, SITE, Limit
from v2g.energy.settlement.authorization import Confirmed, check_authorization, check_confirmations
from v2g.energy.settlement.journal import verify_lines
from v2g.iso15118.d2.provisioning import ProvisioningService
from v2g.iso15118.d20.messages.common_messages import Authorization
from v2g.iso15118.engine.contracts import Answer, Service
from v2g.iso15118.engine.session import Command, Fact
from v2g.iso15118.signed_requests import read_authorization, read_confirmation
from v2g.pki.certificates import load_certificate
from v2g_station.blocks.security.certificates import ContractAnswer

CHARGER = SeccConfig(authorization=(Authorization.EIM,), services=(EnergyService.DC,))
VEHICLE = SessionConfig(
    program=(ProgramStep(do="charge", energy_wh=100),), authorization=AuthorizationConfig(allow_eim=True)
)


class MessageJoined(Joined):
    """Two sessions of DIN 70121, or of ISO 15118-2 with direct or alternating current, and the plant."""

    def __init__(
        self, edition: str, pki: PkiTree, utc_ms: int, vehicle: SessionConfig = VEHICLE, **options: Any
    ) -> None:
        self.edition = edition
        ac = edition == "2-ac"
        services = (EnergyService.AC,) if ac else (EnergyService.DC,)
        vehicle = replace(vehicle, services=replace(vehicle.services, energy=("AC",) if ac else ("DC",)))
        site = Limit(source=SITE, charge_w=22_000, discharge_w=0)
        operator = Limit(source=OPERATOR, charge_w=22_000, discharge_w=0, version=1)
        given_options = {
            "charger": replace(CHARGER, services=services),
            "kind": DinSession if edition == "din" else Iso2Session,
            "tls": False,
            "limits": (site, operator),
            **options,
        }
        super().__init__(pki, utc_ms, vehicle=vehicle, **given_options)

    def make_vehicle(self, *, secc_certificate: bytes, contracts: tuple[Contract, ...]) -> DinVehicle | Vehicle2:
        """Return the vehicle's session; it has no contracts."""
        kind = DinVehicle if self.edition == "din" else Vehicle2
        brought = Connection(battery=self.plant.battery.state, entropy=counter(1), secc_certificate=b"leaf")
        return kind(self.vehicle_config, brought)

    def limit(self, charge_w: int) -> None:
        """Change the site's limit."""
        limit = Limit(source=SITE, charge_w=charge_w, discharge_w=0, version=2)
        self.secc.fact(se.GridChanged((limit,)), self.now, self.utc_ms)
        self.settle()

    def assert_safe(self) -> None:
        """Both ends have closed, and nothing flows or is connected."""
        assert self.evcc.closed
        assert self.secc.closed
        assert not self.plant.ev_closed
        assert not self.plant.evse_closed
        assert self.plant.flow() == (0, 0)


@pytest.fixture
def utc_ms() -> int:
    return time.time_ns() // 1_000_000


PAYING = replace(CHARGER, authorization=(Authorization.PnC,), certificate_installation=True)
PAYER = SessionConfig(
    program=(ProgramStep(do="charge", energy_wh=100),), authorization=AuthorizationConfig(allow_eim=False)
)


class ContractJoined(MessageJoined):
    """A vehicle that pays by contract, and a provisioning service behind the charger.

    `answers` is whether it does, `signer` its key; `keeps` is what the vehicle has: a contract, or nothing yet.
    """

    def __init__(
        self,
        kind: str,
        tree: PkiTree,
        *,
        utc_ms: int = 0,
        keeps: bool = True,
        internet: bool = False,
        mo_roots: tuple[bytes, ...] | None = None,
        provisioning: PkiTree | None = None,
        **options: Any,
    ) -> None:
        self.tree, self.keeps, self.maker = tree, keeps, provisioning or tree
        self.mo_roots = tree.anchors("mo") if mo_roots is None else mo_roots
        self.answers, self.signer = True, tree.key("cps")
        self.installed: list[bytes] = []
        self.contracts = (own_contract(tree),)
        services = (EnergyService.DC,) if kind == "2-dc" else (EnergyService.AC,)
        super().__init__(
            kind,
            tree,
            utc_ms or time.time_ns() // 1_000_000,
            replace(PAYER, services=replace(PAYER.services, internet=internet)),
            **{
                "charger": replace(PAYING, services=services),
                "tls": True,
                "can_install": True,
                **options,
            },
        )

    def make_vehicle(self, *, secc_certificate: bytes, contracts: tuple[Contract, ...]) -> Vehicle2:
        before = self._before
        return Vehicle2(
            self.vehicle_config,
            Connection(
                battery=self.plant.battery.state,
                entropy=counter(1),
                contracts=contracts if self.keeps else (),
                provisioning=Provisioning(
                    chain=self.maker.chain("provisioning"),
                    key=self.maker.key("provisioning"),
                    pcid="WMIV2GENGINE00001X",
                    v2g_roots=self.tree.anchors("v2g"),
                    mo_roots=self.mo_roots,
                ),
                resume=before.evcc.paused if before is not None else None,
                secc_certificate=secc_certificate,
            ),
        )

    def obey_charger(self, command: Command) -> Fact | None:
        if not isinstance(command, se.RequestContract):
            return super().obey_charger(command)
        if not self.answers:
            return None
        self.installed.append(self.contract(command))
        return se.ContractAnswered(command.attempt, ContractAnswer("answered", self.installed[-1]))

    def contract(self, command: se.RequestContract) -> bytes:
        """Return the answer of the provisioning service, to the very bytes that the vehicle sent."""
        service = ProvisioningService(
            Service(self.tree.chain("cps"), self.signer),
            oem_roots=self.tree.anchors("oem"),
            mo_roots=self.tree.anchors("mo"),
            oem_sub_cas=self.tree.chain("provisioning")[1:],
        )
        asked = service.read(command.request.exi, self.utc_ms)
        if isinstance(asked, Answer):
            return asked.exi
        return service.answer(asked, self.contracts, self.utc_ms, counter(7), most_bytes=9000).exi

    def close_interval(self) -> None:
        self.secc.fact(se.MeteringConfirmationRequested(), self.now, self.utc_ms)
        self.settle()

    def charged(self, mwh: int) -> Callable[[], bool]:
        return lambda: self.imported_mwh() > mwh

    def authorisation(self) -> str:
        """Return how the journal says that the session was authorised."""
        return check_authorization(
            verify_lines(b"".join(self.lines)), self.tree.chain("contract")[0], read_authorization
        )

    def confirmed(self) -> Confirmed:
        """Return what the journal proves of the vehicle's receipts."""
        key: Any = load_certificate(self.tree.chain("contract")[0]).public_key()
        return check_confirmations(verify_lines(b"".join(self.lines)), key, read_confirmation)
