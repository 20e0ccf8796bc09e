"""Vehicle, charger and provisioning service joined in memory: a contract goes all the way, and then pays.

The service stands where the back end would: it sees the very bytes that the vehicle sent, and the vehicle those that it
answers.
"""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from evcc.session import ports as ev
from evcc.session.contracts import Provisioning
from evcc.session.d20.session import VehicleSession
from evcc.session.edition import Connection
from evcc.session.settings import InstallationConfig, ProgramStep, SessionConfig
from pki_tools.tree import PkiOptions, PkiTree, TreeFault, make_pki
from secc.session import ports as se
from secc.session.config import SeccConfig
from tests.iso15118.d20.contracts import PCID, drawn, new_contract, own_contract, service
from tests.sessions.joined import Joined, counter
from v2g.iso15118.d20.provisioning import ProvisioningService
from v2g.iso15118.d20.timing import Timing
from v2g.iso15118.engine.contracts import Answer, Contract
from v2g.iso15118.engine.session import Command, Fact, Send
from v2g.pki.profile import KeyKind
from v2g_station.blocks.security.certificates import ContractAnswer, ContractStatus

SHORT = SessionConfig(program=(ProgramStep(do="charge", energy_wh=50), ProgramStep(do="discharge", energy_wh=50)))
OFFERING = SeccConfig(certificate_installation=True)
LIVE = InstallationConfig()


class Fetching(Joined):
    """A joined pair whose vehicle has no contract, and whose charger has a service behind it.

    `delay` seconds pass before it answers; `answer` may put something else in the place of its answer.
    """

    def __init__(
        self,
        tree: PkiTree,
        contracts: Sequence[Contract] = (),
        *,
        install: InstallationConfig = LIVE,
        roots: tuple[bytes, ...] | None = None,
        charger: SeccConfig = OFFERING,
        can_install: bool = True,
    ) -> None:
        utc_ms = time.time_ns() // 1_000_000
        config = SessionConfig(program=SHORT.program, installation=install)
        super().__init__(tree, utc_ms, vehicle=config, charger=charger, can_install=can_install)
        self.evcc = VehicleSession(
            config,
            Connection(
                battery=self.plant.battery.state,
                secc_certificate=tree.chain("secc")[0],
                provisioning=Provisioning(
                    chain=tree.chain("provisioning"),
                    key=tree.key("provisioning"),
                    pcid=PCID,
                    v2g_roots=tree.anchors("v2g") if roots is None else roots,
                    mo_roots=tree.anchors("mo"),
                ),
                entropy=counter(1),
                stopwatch=lambda: self.now,
            ),
        )
        self.service = ProvisioningService(
            service(tree), oem_roots=tree.anchors("oem"), mo_roots=tree.anchors("mo", "v2g")
        )
        self.contracts = tuple(contracts)
        self.delay = 0.0
        self.answer: Callable[[Answer], tuple[ContractStatus, bytes]] = lambda answer: (
            "answered",
            answer.exi,
        )
        self.due: list[tuple[float, Fact]] = []
        self.answers: list[Answer] = []

    def obey_charger(self, command: Command) -> Fact | None:
        if not isinstance(command, se.RequestContract):
            return super().obey_charger(command)
        asked = self.service.read(command.request.exi, self.utc_ms)
        found = asked if isinstance(asked, Answer) else self.service.answer(asked, self.contracts, self.utc_ms, drawn())
        self.answers.append(found)
        fact = se.ContractAnswered(command.attempt, ContractAnswer(*self.answer(found)))
        if not self.delay:
            return fact
        self.due.append((self.now + self.delay, fact))
        return None

    def advance(self, seconds: float = 0.05) -> None:
        super().advance(seconds)
        ready = [fact for at, fact in self.due if at <= self.now]
        self.due = [(at, fact) for at, fact in self.due if at > self.now]
        for fact in ready:
            self.secc.fact(fact, self.now, self.utc_ms)
        self.settle()

    def stored(self) -> list[str]:
        return [action.emaid for action in self.evcc_actions if isinstance(action, ev.StoreContract)]

    def codes(self) -> list[str]:
        return [answer.code.name for answer in self.answers]


@pytest.fixture(scope="module")
def edwards(tmp_path_factory: pytest.TempPathFactory) -> PkiTree:
    options = PkiOptions(key_kind=KeyKind.ED448)
    return make_pki(tmp_path_factory.mktemp("pki"), now=datetime.now(UTC), options=options)


@pytest.fixture(params=["secp521r1", "ed448"])
def tree(request: pytest.FixtureRequest, pki: PkiTree, edwards: PkiTree) -> PkiTree:
    return pki if request.param == "secp521r1" else edwards


def some(tree: PkiTree, count: int) -> tuple[Contract, ...]:
    ed448 = tree.key("provisioning").algorithm.value == "ed448"
    return tuple(new_contract(tree, f"DEV2GC0000000{n}", ed448=ed448, start=n) for n in range(1, count + 1))


def test_a_vehicle_without_a_contract_charges_and_discharges_with_the_one_it_fetched(tree: PkiTree) -> None:
    joined = Fetching(tree, (own_contract(tree),))
    joined.complete()
    assert joined.stored() == ["DEV2GC00000001"]
    (authorize,) = [each for each in joined.secc_actions if isinstance(each, se.AuthorizeContract)]
    assert authorize.emaid == "DEV2GC00000001"
    assert authorize.chain == own_contract(tree).chain
    assert joined.imported_mwh() > 40_000
    assert joined.exported_mwh() > 40_000  # signed with the key that came over the wire


def test_the_charger_changed_no_byte(pki: PkiTree) -> None:
    joined = Fetching(pki, (own_contract(pki),))
    joined.run(lambda: bool(joined.stored()))
    sent = [action.data[8:] for action in joined.secc_actions if isinstance(action, Send)]
    assert joined.answers[0].exi in sent


@pytest.mark.parametrize("count", [2, 3])
def test_several_contracts_are_fetched_in_one_session(tree: PkiTree, count: int) -> None:
    install = InstallationConfig(prioritized_emaids=(f"DEV2GC0000000{count}",))
    joined = Fetching(tree, some(tree, count), install=install)
    joined.run()
    assert joined.evcc_reason == "finished"
    assert [answer.remaining for answer in joined.answers] == list(range(count - 1, -1, -1))
    assert len(joined.stored()) == count
    assert joined.stored()[0] == f"DEV2GC0000000{count}"
    (authorize,) = [each for each in joined.secc_actions if isinstance(each, se.AuthorizeContract)]
    assert authorize.emaid == f"DEV2GC0000000{count}"


@pytest.mark.parametrize("seconds", [0.2, 20.0, 54.0])
def test_a_slow_back_end_is_waited_for(pki: PkiTree, seconds: float) -> None:
    joined = Fetching(pki, (own_contract(pki),))
    joined.delay = seconds
    joined.run()
    assert joined.evcc_reason == "finished"
    assert joined.stored() == ["DEV2GC00000001"]
    assert len(joined.answers) == 1


def test_a_back_end_that_takes_55_s_leaves_the_vehicle_without_and_in_good_order(pki: PkiTree) -> None:
    joined = Fetching(pki, (own_contract(pki),))
    joined.delay = 57.0
    joined.run()
    (refused,) = joined.charger_saw("installation", "refused")
    assert refused["reason"] == "no_answer_in_time"
    assert joined.vehicle_saw("installation", "refused") == [{"code": "WARNING_NoCertificateAvailable"}]
    assert joined.evcc_reason == "no_authorization_possible"
    assert joined.secc_reason == "finished"
    assert not joined.stored()


def test_a_charger_that_waits_too_long_is_left_by_the_vehicle_at_60_s(pki: PkiTree) -> None:
    slow = SeccConfig(certificate_installation=True, timing=Timing(ongoing_performance=70.0))
    joined = Fetching(pki, (own_contract(pki),), charger=slow)
    joined.delay = 65.0
    begin = joined.now
    joined.run()
    assert joined.evcc_reason == "installation_timeout"
    assert 60 <= joined.now - begin < 62


REFUSALS: dict[str, tuple[Callable[[Fetching, PkiTree, PkiTree], None], str]] = {
    "no contract": (
        lambda joined, tree, other: setattr(joined, "contracts", ()),
        "WARNING_NoContractMatchingPCIDFound",
    ),
    "unknown eMSP": (
        lambda joined, tree, other: setattr(joined, "contracts", (new_contract(other, "DEV2GC00000001"),)),
        "WARNING_eMSPUnknown",
    ),
    "wrong curve": (
        lambda joined, tree, other: setattr(joined, "contracts", (new_contract(tree, "DEV2GC00000001", ed448=True),)),
        "WARNING_NoCertificateAvailable",
    ),
    "foreign vehicle": (
        lambda joined, tree, other: setattr(joined.service, "_oem_roots", other.anchors("oem")),
        "WARNING_CertificateValidationError",
    ),
}


@pytest.mark.parametrize("why", REFUSALS)
def test_every_refusal_of_the_service_reaches_the_vehicle_as_it_was_said(
    pki: PkiTree, edwards: PkiTree, why: str
) -> None:
    joined = Fetching(pki, (own_contract(pki),))
    change, code = REFUSALS[why]
    change(joined, pki, edwards)
    joined.run()
    assert joined.codes() == [code]
    assert joined.vehicle_saw("installation", "refused") == [{"code": code}]
    assert (joined.evcc_reason, joined.secc_reason) == ("no_authorization_possible", "finished")


@pytest.mark.parametrize("status", ["failed", "unreachable"])
def test_without_a_back_end_the_vehicle_learns_so(pki: PkiTree, status: ContractStatus) -> None:
    joined = Fetching(pki, (own_contract(pki),))
    joined.answer = lambda _: (status, b"")
    joined.run()
    assert joined.vehicle_saw("installation", "refused") == [{"code": "WARNING_NoCertificateAvailable"}]


def test_where_it_is_not_offered_the_vehicle_does_not_ask(pki: PkiTree) -> None:
    joined = Fetching(pki, (own_contract(pki),), can_install=False)
    joined.run()
    assert joined.evcc_reason == "no_authorization_possible"
    assert not joined.answers


@pytest.mark.parametrize("fault", [TreeFault.EXPIRED, TreeFault.NOT_YET_VALID, TreeFault.FOREIGN_ROOT])
def test_a_service_with_a_bad_certificate_installs_nothing(tmp_path: Any, fault: TreeFault) -> None:
    options = PkiOptions(cps=fault, key_kind=KeyKind.ED448)
    tree = make_pki(tmp_path, now=datetime.now(UTC), options=options)
    joined = Fetching(tree, (own_contract(tree),))
    joined.run()
    (rejected,) = joined.vehicle_saw("installation", "rejected")
    assert rejected["reason"] == {"foreign_root": "unknown_root"}.get(fault.value, fault.value)
    assert not joined.stored()


@pytest.mark.parametrize("place", [30, 200, 800, 1500, 2500, 3500, 4200])
def test_one_bit_flipped_between_service_and_vehicle_installs_nothing(pki: PkiTree, place: int) -> None:
    joined = Fetching(pki, (own_contract(pki),))

    def flipped(answer: Answer) -> tuple[ContractStatus, bytes]:
        data = bytearray(answer.exi)
        data[place] ^= 1
        return "answered", bytes(data)

    joined.answer = flipped
    joined.run()
    assert joined.evcc_reason != "finished"
    assert not joined.stored()
    assert not joined.plant.ev_closed
