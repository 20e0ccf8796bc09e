"""Who may charge, by both ends together: contracts and cards, refusals and changes of mind, with TLS and without."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from evcc.session.contracts import Contract
from evcc.session.settings import AuthorizationConfig, InstallationConfig, ProgramStep, SessionConfig
from pki_tools.tree import PkiOptions, PkiTree, TreeFault, make_pki
from secc.session import ports as se
from secc.session.config import SeccConfig
from tests.iso15118.d20.contracts import new_contract
from tests.sessions.joined import Joined
from v2g.energy.settlement.authorization import check_authorization
from v2g.energy.settlement.journal import verify_lines
from v2g.iso15118.d20.messages.common_messages import Authorization
from v2g.iso15118.engine.session import Command, Fact
from v2g.iso15118.signed_requests import read_authorization
from v2g.pki.keys import SoftwareKey
from v2g_station.blocks.authorization.contracts import AuthorizationStatus

CHARGE = (ProgramStep(do="charge", energy_wh=50),)
BOTH = SeccConfig(authorization=(Authorization.PnC, Authorization.EIM))
CARD = SessionConfig(program=CHARGE, authorization=AuthorizationConfig(allow_eim=True))

Join = Callable[..., Joined]


@pytest.fixture
def join(pki: PkiTree) -> Join:
    """Return a maker of joined pairs whose back end answers as `answers` says, one attempt after the other."""

    def make(*answers: AuthorizationStatus, **options: Any) -> Joined:
        joined = Joined(pki, time.time_ns() // 1_000_000, **{"vehicle": CARD, "charger": BOTH, **options})
        waiting, obey = list(answers), joined.obey_charger

        def decide(command: Command) -> Fact | None:
            if isinstance(command, se.AuthorizeContract | se.AuthorizeExternally) and waiting:
                return se.AuthorizationDecided(command.attempt, waiting.pop(0))
            return obey(command)

        joined.obey_charger = decide  # type: ignore[method-assign]
        return joined

    return make


def methods(joined: Joined) -> list[str]:
    return [each["service"] for each in joined.vehicle_saw("authorization", "selected")]


@pytest.mark.parametrize(
    ("offered", "tls", "method"),
    [("PnC", True, "PnC"), ("EIM", True, "EIM"), ("PnC EIM", True, "PnC"), ("PnC EIM", False, "EIM")],
)
def test_what_is_offered_and_allowed_is_taken(join: Join, pki: PkiTree, offered: str, tls: bool, method: str) -> None:
    charger = SeccConfig(authorization=tuple(Authorization[each] for each in offered.split()))
    joined = join(charger=charger, tls=tls)
    joined.run()
    leaf = pki.chain("contract")[0] if method == "PnC" else None
    verdict = check_authorization(verify_lines(b"".join(joined.lines)), leaf, read_authorization)
    assert verdict == ("signed" if method == "PnC" else "external")
    assert joined.evcc_reason == "finished"
    assert methods(joined) == [method]
    (authorized,) = joined.charger_saw("authorization", "authorized")
    assert authorized["method"] == method
    assert joined.imported_mwh() > 50_000


def test_without_tls_a_vehicle_that_pays_by_contract_only_gets_nothing(join: Join) -> None:
    joined = join(vehicle=SessionConfig(program=CHARGE), tls=False)
    joined.run()
    assert joined.evcc_reason == "no_authorization_possible"
    assert methods(joined) == []
    assert joined.imported_mwh() == 0


def test_of_several_contracts_the_second_pays_where_the_first_is_refused(join: Join, tmp_path: Path) -> None:
    tree = make_pki(tmp_path, now=datetime.now(UTC))
    names = ("DEV2GC00000001", "DEV2GC00000002")
    made = [new_contract(tree, name, start=n) for n, name in enumerate(names, start=1)]
    first = InstallationConfig(prioritized_emaids=names)
    joined = Joined(
        tree,
        time.time_ns() // 1_000_000,
        vehicle=SessionConfig(program=CHARGE, installation=first),
        contracts=tuple(Contract(each.chain, SoftwareKey(each.key)) for each in made),
    )
    asked, obey = [], joined.obey_charger

    def decide(command: Command) -> Fact | None:
        if isinstance(command, se.AuthorizeContract):
            asked.append(command.emaid)
            status = AuthorizationStatus.ACCEPTED if len(asked) > 1 else AuthorizationStatus.CERTIFICATE_REVOKED
            return se.AuthorizationDecided(command.attempt, status)
        return obey(command)

    joined.obey_charger = decide  # type: ignore[method-assign]
    joined.run()
    assert joined.evcc_reason == "finished"
    assert asked == list(names)
    assert joined.charger_saw("authorization", "authorized")[0]["emaid"] == names[1]
    assert joined.vehicle_saw("authorization", "denied") == [{"code": "WARNING_CertificateRevoked"}]


def test_a_vehicle_whose_contract_is_refused_pays_by_card_in_the_same_session(join: Join) -> None:
    joined = join(AuthorizationStatus.REFUSED, AuthorizationStatus.ACCEPTED)
    joined.run()
    assert joined.evcc_reason == "finished"
    assert methods(joined) == ["PnC", "EIM"]
    assert [each["method"] for each in joined.charger_saw("authorization", "authorized")] == ["EIM"]


def test_a_card_that_is_refused_ends_the_session_in_words(join: Join) -> None:
    joined = join(AuthorizationStatus.REFUSED, AuthorizationStatus.REFUSED)
    joined.run()
    assert (joined.evcc_reason, joined.secc_reason) == ("WARNING_EIMAuthorizationFailure", "finished")
    assert joined.imported_mwh() == 0


@pytest.mark.some(1)
@pytest.mark.parametrize("seconds", [59.0, 61.0, 170.0])
def test_a_customer_may_take_longer_than_a_back_end(join: Join, seconds: float) -> None:
    """Ongoing_WaitingForCustomerInteraction is not the charger's time: neither side gives up after 60 s."""
    joined = join(charger=SeccConfig(authorization=(Authorization.EIM,)))
    obey = joined.obey_charger
    joined.obey_charger = lambda command: None if isinstance(command, se.AuthorizeExternally) else obey(command)  # type: ignore[method-assign]
    joined.start()
    end = joined.now + seconds
    while joined.now < end:
        joined.advance()
    assert not joined.evcc.closed
    joined.secc.fact(se.AuthorizationDecided(1, AuthorizationStatus.ACCEPTED), joined.now, joined.utc_ms)
    joined.settle()
    joined.run()
    assert joined.evcc_reason == "finished"


def test_a_customer_who_never_comes_ends_it_after_three_minutes(join: Join) -> None:
    joined = join(charger=SeccConfig(authorization=(Authorization.EIM,)))
    obey = joined.obey_charger
    joined.obey_charger = lambda command: None if isinstance(command, se.AuthorizeExternally) else obey(command)  # type: ignore[method-assign]
    began = joined.now
    joined.run()
    assert (joined.evcc_reason, joined.secc_reason) == ("WARNING_EIMAuthorizationFailure", "finished")
    assert 180 <= joined.now - began < 187  # and 5 s for closing


def test_an_expired_contract_is_named_as_such_and_a_card_pays(join: Join, tmp_path: Path) -> None:
    old = make_pki(tmp_path, now=datetime.now(UTC), options=PkiOptions(contract=TreeFault.EXPIRED))
    joined = Joined(
        old, time.time_ns() // 1_000_000, vehicle=CARD, charger=BOTH, authorized=AuthorizationStatus.ACCEPTED
    )
    joined.run()
    assert joined.vehicle_saw("authorization", "denied") == [{"code": "WARNING_CertificateExpired"}]
    assert methods(joined) == ["PnC", "EIM"]
    assert joined.evcc_reason == "finished"
