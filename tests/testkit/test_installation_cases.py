"""The cases about contracts from a back end: our charger passes, and with one thing wrong it fails in that alone."""

from collections.abc import Callable
from typing import Any, Final

import pytest
from msgspec.structs import replace

from pki_tools.tree import PkiTree
from secc.session.d2.session import Iso2Session
from secc.session.d20.session import SeccSession
from tests.io.tls.support import pki_2
from tests.iso15118.d2.contracts import contract_2
from tests.iso15118.d20.contracts import own_contract
from tests.testkit.message_chargers import STRICT, WAYS, Way, rig_of
from tests.testkit.rig import Rig
from tests.testkit.secc_cases import EVERYTHING
from tests.testkit.secc_mutants import AnySession, NoSequenceError
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.timing import Timing
from v2g_testkit.cases.case import Verdict
from v2g_testkit.cases.editions import Edition
from v2g_testkit.cases.known import Kit
from v2g_testkit.cases.secc_installation import installation

__all__ = ["pki_2"]

CASES: Final = tuple(installation(Family.DC))
PREFIX: Final = "SECC-INS-DC-"


def verdicts(rig: Rig) -> dict[str, Verdict]:
    return {case.id.removeprefix(PREFIX): rig.run(case).verdict for case in CASES}


def those(found: dict[str, Verdict], verdict: Verdict) -> set[str]:
    return {name for name, each in found.items() if each is verdict}


def test_a_back_end_that_does_not_answer_fails_nobody(pki: PkiTree) -> None:
    rig = Rig(pki, Family.DC, config=EVERYTHING)
    rig.back_end.seconds = None
    found = verdicts(rig)
    assert those(found, Verdict.NOT_APPLICABLE) == {"contract", "one"}
    assert those(found, Verdict.PASS) == found.keys() - {"contract", "one"}


def test_a_fast_back_end_leaves_no_time_for_other_requests(pki: PkiTree) -> None:
    rig = Rig(pki, Family.DC, config=EVERYTHING)
    rig.back_end.seconds = 0.1
    found = verdicts(rig)
    assert those(found, Verdict.NOT_APPLICABLE) == {name for name in found if name.startswith("meanwhile")} | {
        "silence"
    }
    assert not those(found, Verdict.FAIL)


@pytest.mark.parametrize("without", ["offer", "certificate"])
def test_a_charger_or_a_tester_without_it(pki: PkiTree, without: str) -> None:
    rig = Rig(pki, Family.DC, config=replace(EVERYTHING, certificate_installation=without != "offer"))
    if without == "certificate":
        rig.kit = replace(rig.kit, provisioning={})
    assert set(verdicts(rig).values()) == {Verdict.NOT_APPLICABLE}


class Altered(SeccSession):
    """Changes what it forwards."""

    def _send(self, message: Any, payload_type: int | None = None, *, encoded: bytes = b"") -> None:
        if type(message).__name__ == "CertificateInstallationRes":
            other = self.altered(message)
            message, encoded = other, encoded if other is message else b""
        super()._send(message, payload_type, encoded=encoded)

    def altered(self, message: Any) -> Any:
        return message


class BreaksContracts(Altered):
    """Changes the sealed key."""

    def altered(self, message: Any) -> Any:
        data = message.signed_installation_data
        return replace(message, signed_installation_data=replace(data, dh_public_key=bytes(133)))


class AnnouncesMore(Altered):
    """Announces a contract that the vehicle has no room for."""

    def altered(self, message: Any) -> Any:
        kept = message.response_code.name != "OK" or message.evse_processing.name == "Ongoing"
        return message if kept else replace(message, remaining_contract_certificate_chains=1)


class OneRefusal(Altered):
    """Has one word for every refusal."""

    def altered(self, message: Any) -> Any:
        codes = type(message.response_code)
        warned = message.response_code.name.startswith("WARNING")
        return replace(message, response_code=codes.WARNING_NoCertificateAvailable) if warned else message


NEVER: Final = replace(EVERYTHING, timing=Timing(ongoing_performance=1000.0))
MEANWHILE: Final = {"meanwhile-AuthorizationReq", "meanwhile-ServiceDiscoveryReq"}


@pytest.mark.some(1)
@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (BreaksContracts, {"contract", "one"}),
        (OneRefusal, {"expired-provisioning", "future-provisioning"}),
        (AnySession, {"other-session"}),
        (NoSequenceError, {"late", *MEANWHILE}),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_a_charger_with_one_thing_wrong_fails_in_it_alone(
    pki: PkiTree, kind: type[SeccSession], wrong: set[str]
) -> None:
    assert those(verdicts(Rig(pki, Family.DC, config=EVERYTHING, kind=kind)), Verdict.FAIL) == wrong


def test_a_charger_that_announces_a_contract_without_room_for_it(pki: PkiTree) -> None:
    (case,) = (each for each in CASES if each.id.endswith("-one"))
    result = Rig(pki, Family.DC, config=EVERYTHING, kind=AnnouncesMore).run(case)
    assert result.verdict is Verdict.FAIL
    assert "announces more contracts" in result.found


def test_a_charger_that_waits_for_its_back_end_for_ever(pki: PkiTree) -> None:
    rig = Rig(pki, Family.DC, config=NEVER)
    rig.back_end.seconds = None
    failed = those(verdicts(rig), Verdict.FAIL)
    # whatever the vehicle has to receive in the end; local checks are as they were
    assert failed == {"contract", "time", "one", "unknown-maker"}


def test_a_charger_and_a_back_end_that_believe_any_signature(pki: PkiTree, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("secc.session.d20.installation", "v2g.iso15118.d20.installation"):
        monkeypatch.setattr(f"{module}.check_request_signature", lambda *_, **__: None)
    failed = those(verdicts(Rig(pki, Family.DC, config=EVERYTHING)), Verdict.FAIL)
    assert failed == {"broken-signature", "no-signature", "other-key", "changed-chain"}


# -- ISO 15118-2 --------------------------------------------------------------------------------------------------

ISO2: Final = [way for way in WAYS if way.edition is Edition.ISO2]
DC2: Final = Way(Edition.ISO2, Family.DC)


def found_2(tree: PkiTree, way: Way, *, kind: type | None = None, kit: Kit | None = None) -> dict[str, Verdict]:
    rig = rig_of(way, tree, tls=True, kind=kind, kit=kit, config=replace(STRICT, certificate_installation=True))
    rig.back_end.contracts = (own_contract(tree), contract_2(tree))
    cases = [case for case in way.cases() if case.scripts[-1].installs]
    return {case.id.removeprefix("TC_SECC_CMN_VTB_"): rig.run(case).verdict for case in cases}


@pytest.mark.parametrize("way", ISO2, ids=str)
def test_our_charger_of_iso_15118_2_passes(pki_2: PkiTree, way: Way) -> None:
    found = found_2(pki_2, way)
    assert set(found.values()) == {Verdict.PASS}, found
    assert len(found) == 25


class AnySession2(Iso2Session):
    """Does not look at the SessionID."""

    def _on_request(self, request: Any, *, same_session: bool) -> None:
        super()._on_request(request, same_session=True)


def test_a_charger_of_iso_15118_2_that_takes_any_session(pki_2: PkiTree) -> None:
    failed = those(found_2(pki_2, DC2, kind=AnySession2), Verdict.FAIL)
    assert failed == {"CertificateInstallation_003", "CertificateUpdate_003"}


ALL: Final = "CertificateInstallation", "CertificateUpdate"


@pytest.mark.parametrize(
    ("name", "anything", "wrong"),
    [
        ("signatures.verify", lambda *_: frozenset(), {f"{each}_{n}" for each in ALL for n in ("005", "006")}),
        ("is_same_contract", lambda *_: True, {"CertificateUpdate_012", "CertificateUpdate_013"}),
    ],
    ids=["any signature", "any eMAID"],
)
def test_a_charger_and_a_back_end_of_iso_15118_2_that_believe_anything(
    pki_2: PkiTree, monkeypatch: pytest.MonkeyPatch, name: str, anything: Callable[..., Any], wrong: set[str]
) -> None:
    for module in ("secc.session.d2.contract", "v2g.iso15118.d2.provisioning"):
        monkeypatch.setattr(f"{module}.{name}", anything)
    assert those(found_2(pki_2, DC2), Verdict.FAIL) == wrong
