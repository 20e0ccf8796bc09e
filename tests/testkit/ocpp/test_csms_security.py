"""Cases of security profiles against our own back end by real sockets, and against back ends with one fault there."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from pki_tools.tree import PkiTree
from tests.csms.fixtures import Start
from tests.testkit.ocpp.csms_mutants import CALL, CALLRESULT, Mutant, each, put
from tests.testkit.ocpp.csms_rig import (
    BY_PROFILE,
    PASSWORD,
    SECURED,
    SECURED_16,
    Profile,
    Secured,
    secured_csms_under_test,
)
from v2g.errors import SubprotocolError, TransportError, UpgradeRefusedError
from v2g.ocpp.routes import Version
from v2g_testkit.cases.case import REFUSED, Verdict
from v2g_testkit.ocpp.attempts import Attempt
from v2g_testkit.ocpp.csms_cases import block_a
from v2g_testkit.ocpp.csms_cases.block_a import A, names_host
from v2g_testkit.ocpp.csms_cases.catalogue import CSMS_CASES
from v2g_testkit.ocpp.csms_tester import CsmsTester
from v2g_testkit.ocpp.declaration import CsmsDeclaration
from v2g_testkit.ocpp.v16.csms import CsmsTester16
from v2g_testkit.ocpp.v16.csms_cases import CSMS_CASES_16

CASES = [case for case in CSMS_CASES if case in A.cases or case.id in SECURED]
CASE = {case.id.removeprefix("TC_").removesuffix("_CSMS"): case for case in CASES}


@pytest.fixture
def secured(pki: PkiTree, tmp_path: Path) -> Secured:
    """Certificates."""
    return Secured(pki, tmp_path)


def applies(case: str, profile: Profile) -> bool:
    return case not in SECURED or case.removeprefix("TC_").removesuffix("_CSMS") in BY_PROFILE[profile].split()


@pytest.mark.some(1)
@pytest.mark.parametrize("profile", [1, 2, 3])
@pytest.mark.parametrize("version", ["2.0.1", pytest.param("2.1", marks=pytest.mark.long)])
async def test_our_back_end_passes(
    backend: Start, secured: Secured, profile: Profile, version: Version, subtests: pytest.Subtests
) -> None:
    async with secured_csms_under_test(backend, secured, profile, version) as tester:
        for case in CASES:
            with subtests.test(case.id):
                result = await tester.run(case)
                expected = Verdict.PASS if applies(case.id, profile) else Verdict.NOT_APPLICABLE
                assert result.verdict is expected, result.found
        assert not any(PASSWORD in each.text for each in tester.frames)


@pytest.mark.some(1)
@pytest.mark.parametrize("profile", [1, 2, 3])
@pytest.mark.requirement("R200")
async def test_our_back_end_passes_with_a_station_of_1_6(
    backend: Start, secured: Secured, profile: Profile, subtests: pytest.Subtests
) -> None:
    async with secured_csms_under_test(backend, secured, profile, "1.6") as tester:
        assert isinstance(tester, CsmsTester16)
        for case in CSMS_CASES_16:
            if case.id in SECURED_16:
                with subtests.test(case.id):
                    result = await tester.run(case)
                    applies = profile in SECURED_16[case.id]
                    assert result.verdict is (Verdict.PASS if applies else Verdict.NOT_APPLICABLE), result.found


@pytest.mark.parametrize(
    ("names", "host", "fits"),
    [
        (["csms.example"], "CSMS.example".lower(), True),
        (["other.example", "CSMS.example"], "csms.example", True),
        (["*.example"], "csms.example", True),
        (["other.example"], "csms.example", False),
        ([], "csms.example", False),
        (["csms.example"], "10.0.0.1", True),
        (["csms.example"], "localhost", True),
    ],
)
def test_the_name_of_a_certificate_is_compared_with_a_domain_name_only(names: list[str], host: str, fits: bool) -> None:
    assert names_host(names, host) is fits


async def test_without_declared_roots_those_of_the_machine_count(
    backend: Start, secured: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def machines(attempt: Attempt, _: CsmsDeclaration) -> Attempt:
        return msgspec.structs.replace(attempt, ca=None)

    (case,) = (each for each in A.cases if each.id == "TC_A_07_CSMS")
    async with secured_csms_under_test(backend, secured, 3, edit=machines) as tester:
        assert (await tester.run(case)).verdict is Verdict.INCONCLUSIVE
        monkeypatch.setenv("SSL_CERT_FILE", str(secured.root))
        assert (await tester.run(case)).verdict is Verdict.PASS


async def test_what_the_station_lacks_is_said(backend: Start, secured: Secured) -> None:
    async with secured_csms_under_test(backend, secured, 1) as tester:
        tester.attempt = shows(tester.attempt, password=None)
        result = await tester.run(CASE["A_01"])
        assert (result.verdict, result.found) == (Verdict.NOT_APPLICABLE, "the station connects without a password")


async def test_another_root_for_some_suites_is_no_fault_of_the_back_end(
    backend: Start, secured: Secured, pki: PkiTree
) -> None:
    def distrusts(attempt: Attempt, _: CsmsDeclaration) -> Attempt:
        ca = pki.path("v2g/root.pem") if attempt.suite.startswith("AES") else attempt.ca
        return msgspec.structs.replace(attempt, ca=ca)

    async with secured_csms_under_test(backend, secured, 2, edit=distrusts) as tester:
        assert (await tester.run(CASE["A_04"])).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(("others", "verdict"), [(["csms.example"], Verdict.INCONCLUSIVE), ([], Verdict.FAIL)])
async def test_a_back_end_with_several_paths_may_have_their_names_in_its_certificate(
    backend: Start, secured: Secured, monkeypatch: pytest.MonkeyPatch, others: list[str], verdict: Verdict
) -> None:
    def resolves(attempt: Attempt, declared: CsmsDeclaration) -> Attempt:
        return msgspec.structs.replace(attempt, url=declared.url)

    monkeypatch.setattr(block_a, "alternative_names", lambda _: others)
    async with secured_csms_under_test(backend, secured, 2, edit=resolves) as tester:
        tester.attempt = msgspec.structs.replace(tester.attempt, url="wss://csms.example/ocpp")
        assert (await tester.run(CASE["A_04"])).verdict is verdict


async def test_a_certificate_is_renewed_for_the_organization_of_the_present_one(
    backend: Start, secured: Secured
) -> None:
    async with secured_csms_under_test(backend, secured, 3) as tester:
        assert (await tester.run(CASE["A_11"])).verdict is Verdict.PASS
        (sent,) = (each.text for each in tester.frames if '"SignCertificate"' in each.text)
        request = x509.load_pem_x509_csr(json.loads(sent)[-1]["csr"].encode())
        present = x509.load_pem_x509_certificate(secured.own.chain.read_bytes()).subject
        names = {each.oid: each.value for each in request.subject}
        assert names == {each.oid: each.value for each in present} | {
            NameOID.COMMON_NAME: tester.declaration.station.identity
        }
        assert NameOID.ORGANIZATION_NAME in names


async def test_a_new_password_that_is_refused_is_not_used_again(backend: Start, secured: Secured) -> None:
    async with secured_csms_under_test(backend, secured, 1, edit=partial(Door.new_passwords_never, Door())) as tester:
        assert (await tester.run(CASE["A_09"])).verdict is Verdict.FAIL
        assert tester.attempt.station.password == PASSWORD


@pytest.mark.parametrize(
    ("error", "found"),
    [(UpgradeRefusedError("HTTP status 500", status=500), "the tester cannot connect with a wrong password: HTTP"),
     (SubprotocolError("none"), REFUSED)],
)  # fmt: skip
async def test_a_back_end_that_answers_neither_yes_nor_no_is_not_judged(
    backend: Start, secured: Secured, error: TransportError, found: str
) -> None:
    """The second one agrees to no subprotocol: it is not stuck either, and the case about that is still to be run."""

    def fails(attempt: Attempt, _: CsmsDeclaration) -> Attempt:
        if attempt.station.password != PASSWORD or isinstance(error, SubprotocolError):
            raise error
        return attempt

    async with secured_csms_under_test(backend, secured, 1, edit=fails) as tester:
        result = await tester.run(CASE["A_03"])
        assert (result.verdict, result.found.startswith(found)) == (Verdict.INCONCLUSIVE, True)


async def test_a_back_end_that_agrees_to_no_subprotocol_fails_the_case_about_it(
    backend: Start, secured: Secured
) -> None:
    def agrees_to_none(attempt: Attempt, _: CsmsDeclaration) -> Attempt:
        if not attempt.offered:
            raise SubprotocolError("none")
        return msgspec.structs.replace(attempt, offered=("ocpp0.1",))

    async with secured_csms_under_test(backend, secured, 1, edit=agrees_to_none) as tester:
        result = await tester.run(CASE["B_58"])
        found = "agrees to None instead of ocpp2.0.1 (OCPP-J 3.3)"
        assert (result.verdict, result.found) == (Verdict.FAIL, found)


async def test_a_key_of_1_6_may_be_set_as_hexadecimal_digits(backend: Start, secured: Secured) -> None:
    case = next(each for each in CSMS_CASES_16 if each.id == "TC_073_CSMS")
    digits = Mutant("", CALL, "ChangeConfiguration", lambda sent: sent.update(value=sent["value"].encode().hex()), "")
    async with secured_csms_under_test(backend, secured, 1, "1.6", change=digits.change) as tester:
        assert isinstance(tester, CsmsTester16)
        result = await tester.run(case)
        assert (result.verdict, tester.attempt.station.password) == (Verdict.PASS, PASSWORD), result.found


# -- one fault each

Frame = list[Any]


def shows(attempt: Attempt, **values: Any) -> Attempt:
    """Return the attempt of a station that shows these."""
    return msgspec.structs.replace(attempt, station=msgspec.structs.replace(attempt.station, **values))


class Door:
    """What a back end lets in. Each method is a fault; attempts that it judges wrongly are changed."""

    def __init__(self) -> None:
        self.password = PASSWORD
        self.best: dict[str, Attempt] = {}

    def all_refused(self, attempt: Attempt, declared: CsmsDeclaration) -> Attempt:
        return shows(attempt, password="wrong-password-of-any-station")

    def every_password(self, attempt: Attempt, declared: CsmsDeclaration) -> Attempt:
        return shows(attempt, password=PASSWORD)

    def every_username(self, attempt: Attempt, declared: CsmsDeclaration) -> Attempt:
        return msgspec.structs.replace(attempt, username=None)

    def no_password_needed(self, attempt: Attempt, declared: CsmsDeclaration) -> Attempt:
        return attempt if attempt.station.password else shows(attempt, password=PASSWORD)

    def old_passwords(self, attempt: Attempt, declared: CsmsDeclaration) -> Attempt:
        return shows(attempt, password=self.password) if attempt.station.password == PASSWORD else attempt

    def new_passwords_only(self, attempt: Attempt, declared: CsmsDeclaration) -> Attempt:
        return shows(attempt, password="x" * 16) if attempt.station.password != self.password else attempt

    def new_passwords_never(self, attempt: Attempt, declared: CsmsDeclaration) -> Attempt:
        return attempt if attempt.station.password == PASSWORD else shows(attempt, password="x" * 16)

    def every_subprotocol(self, attempt: Attempt, declared: CsmsDeclaration) -> Attempt:
        return msgspec.structs.replace(attempt, offered=("ocpp2.0.1",)) if attempt.offered else attempt

    def no_second_subprotocol(self, attempt: Attempt, declared: CsmsDeclaration) -> Attempt:
        return msgspec.structs.replace(attempt, offered=attempt.offered[:1])

    def old_tls(self, attempt: Attempt, declared: CsmsDeclaration) -> Attempt:
        return msgspec.structs.replace(attempt, outdated=False)

    def no_rsa(self, attempt: Attempt, declared: CsmsDeclaration) -> Attempt:
        other = "DHE-RSA-AES128-SHA256"
        return msgspec.structs.replace(attempt, suite=other) if attempt.suite.startswith("AES") else attempt

    def own_certificate(self, attempt: Attempt, declared: CsmsDeclaration) -> Attempt:
        return shows(attempt, chain=declared.station.chain, key=declared.station.key)

    def no_certificate(self, attempt: Attempt, declared: CsmsDeclaration) -> Attempt:
        return attempt if attempt.station.chain else self.own_certificate(attempt, declared)

    def expired_certificate(self, attempt: Attempt, declared: CsmsDeclaration) -> Attempt:
        expired = attempt.station.chain == declared.invalid_certificates[0].chain
        return self.own_certificate(attempt, declared) if expired else attempt

    def strict(self, attempt: Attempt, declared: CsmsDeclaration) -> Attempt:
        expired, _ = declared.invalid_certificates
        return shows(attempt, chain=expired.chain, key=expired.key)

    def lower_profile(self, attempt: Attempt, declared: CsmsDeclaration) -> Attempt:
        best = self.best.get(attempt.station.identity, attempt)
        if attempt.security_profile >= best.security_profile:
            self.best[attempt.station.identity] = best = attempt
        return best

    def no_higher_profile(self, attempt: Attempt, declared: CsmsDeclaration) -> Attempt:
        return attempt if attempt.url == declared.url else shows(attempt, password="x" * 16, chain=None, key=None)

    def follow(self, action: str, frame: Frame) -> Frame:
        """Note a password that the back end has set."""
        if frame[0] == CALL and action == "SetVariables":
            (data,) = frame[-1]["setVariableData"]
            if data["variable"]["name"] == "BasicAuthPassword":
                self.password = data["attributeValue"]
        return frame


AT_THE_DOOR: tuple[tuple[Callable[[Door, Attempt, CsmsDeclaration], Attempt], Profile, str], ...] = (
    (Door.all_refused, 1, "A_01"),
    (Door.every_password, 1, "A_03 A_09"),
    (Door.every_username, 1, "A_02"),
    (Door.no_password_needed, 2, "A_03"),
    (Door.old_passwords, 1, "A_09"),
    (Door.new_passwords_only, 1, "A_10"),
    (Door.new_passwords_never, 2, "A_09"),
    (Door.every_subprotocol, 1, "B_58"),
    (Door.no_second_subprotocol, 1, "B_58"),
    (Door.old_tls, 2, "A_06"),
    (Door.old_tls, 3, "A_06"),
    (Door.no_rsa, 2, "A_04"),
    (Door.no_rsa, 3, "A_04"),
    (Door.own_certificate, 3, "A_08"),
    (Door.no_certificate, 3, "A_08"),
    (Door.expired_certificate, 3, "A_08"),
    (Door.strict, 3, "A_04 A_07"),
    (Door.lower_profile, 1, "A_19"),
    (Door.lower_profile, 2, "A_19"),
    (Door.no_higher_profile, 1, "A_19"),
)


@pytest.mark.parametrize(
    ("fault", "profile", "id_"),
    [(Door.old_tls, 2, "V2G-01-CSMS16"), (Door.no_certificate, 3, "V2G-02-CSMS16"),
     (Door.expired_certificate, 3, "V2G-02-CSMS16")],
)  # fmt: skip
async def test_a_faulty_door_for_stations_of_1_6_fails(
    backend: Start,
    secured: Secured,
    fault: Callable[[Door, Attempt, CsmsDeclaration], Attempt],
    profile: Profile,
    id_: str,
) -> None:
    case = next(each for each in CSMS_CASES_16 if each.id == id_)
    async with secured_csms_under_test(backend, secured, profile, "1.6", edit=partial(fault, Door())) as tester:
        assert isinstance(tester, CsmsTester16)
        assert (await tester.run(case)).verdict is Verdict.FAIL


def long_but_every(pairs: tuple[Any, ...], step: int) -> list[Any]:
    return [pytest.param(*each, marks=() if n % step == 0 else pytest.mark.long) for n, each in enumerate(pairs)]


async def failed(tester: CsmsTester, profile: Profile) -> str:
    """Return the cases of a profile that fail."""
    found = set()
    for case in CASES:
        if case.id in SECURED and applies(case.id, profile) and (await tester.run(case)).verdict is Verdict.FAIL:
            found.add(case.id.removeprefix("TC_").removesuffix("_CSMS"))
    return " ".join(sorted(found))


@pytest.mark.some(1)
@pytest.mark.parametrize(("fault", "profile", "fails"), long_but_every(AT_THE_DOOR, 4))
async def test_a_faulty_door_fails_exactly_the_cases_about_it(
    backend: Start,
    secured: Secured,
    fault: Callable[[Door, Attempt, CsmsDeclaration], Attempt],
    profile: Profile,
    fails: str,
) -> None:
    door = Door()
    async with secured_csms_under_test(
        backend, secured, profile, change=door.follow, edit=partial(fault, door)
    ) as tester:
        assert await failed(tester, profile) == fails


@pytest.mark.parametrize(
    ("fault", "profile", "case"),
    [(Door.old_tls, 2, "A_06"), (Door.own_certificate, 3, "A_08"), (Door.no_certificate, 3, "A_08")],
)
async def test_to_reject_the_boot_is_not_to_end_the_connection(
    backend: Start,
    secured: Secured,
    fault: Callable[[Door, Attempt, CsmsDeclaration], Attempt],
    profile: Profile,
    case: str,
) -> None:
    rejects = Mutant("", CALLRESULT, "BootNotification", put("status", "Rejected"), "")
    async with secured_csms_under_test(
        backend, secured, profile, change=rejects.change, edit=partial(fault, Door())
    ) as tester:
        tester.declaration = msgspec.structs.replace(tester.declaration, seconds=1)
        assert (await tester.run(CASE[case])).verdict is Verdict.FAIL


SENT = (
    Mutant(
        "another variable is set", CALL, "SetVariables",
        each("setVariableData", put("variable.name", "Other")), "A_09 A_19",
    ),
    Mutant("no slot is first", CALL, "SetVariables", each("setVariableData", put("attributeValue", "")), "A_09 A_19"),
    Mutant("the security profile stays", CALL, "SetNetworkProfile", put("connectionData.securityProfile", 1), "A_19"),
    Mutant("nothing is reset", CALL, "Reset", None, "A_19"),
    Mutant("boots are rejected", CALLRESULT, "BootNotification", put("status", "Rejected"), "A_01"),
)  # fmt: skip


@pytest.mark.some(1)
@pytest.mark.parametrize("mutant", SENT, ids=lambda mutant: mutant.name)
async def test_faulty_frames_fail_exactly_the_cases_about_them(
    backend: Start, secured: Secured, mutant: Mutant
) -> None:
    async with secured_csms_under_test(backend, secured, 1, change=mutant.change) as tester:
        assert await failed(tester, 1) == mutant.fails
