"""What a case is worth by what was seen, which cases are run, and what reports say of them."""

from datetime import UTC, datetime
from xml.etree import ElementTree

import pytest
from msgspec.structs import replace

from pki_tools.tree import PkiTree
from tests.together import together
from v2g.errors import CertificateError
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.engine.sdp import SdpResponse, Security, encode_response
from v2g.iso15118.engine.sequence import State
from v2g.pki.profile import Role
from v2g.pki.verify import verify_chain
from v2g_cli.conform.kit import means_of_files, means_of_tree
from v2g_testkit.cases.case import Ask, Case, ChargerScript, Expect, Result, Script, Seen, Verdict, judge
from v2g_testkit.cases.report import NOTICE, chosen, exit_code, junit
from v2g_testkit.cases.secc_cases import secc_cases
from v2g_testkit.cases.secc_probes import sdp_facts

REACHES = Expect(reaches=True)
REFUSED = Expect(codes=("FAILED_SequenceError",), closes=True)
ANSWER = {"request": "ServiceDetailReq", "answer": "ServiceDetailRes", "code": "FAILED_SequenceError", "closed_s": 0.1}


def case(expect: Expect, **fields: str) -> Case:
    script = Script(goal=State.SESSION_SETUP, do=Ask("ServiceDetailReq"), expect=expect)
    return Case(id="SECC-SEQ-DC-x", title="x", required="x", scripts=(script,), **fields)  # type: ignore[arg-type]


@together(
    ("changes", "verdict", "found"),
    [
        ({}, Verdict.PASS, "answers ServiceDetailRes FAILED_SequenceError, closes after 0.1 s"),
        ({"code": "OK"}, Verdict.FAIL, "answers OK, expected FAILED_SequenceError"),
        ({"answer": "SessionStopRes"}, Verdict.FAIL, "answers ServiceDetailReq with SessionStopRes"),
        ({"answer": ""}, Verdict.FAIL, "does not answer ServiceDetailReq, but closes"),
        ({"answer": "", "closed_s": None}, Verdict.FAIL, "does not answer ServiceDetailReq, but stays silent"),
        ({"closed_s": None}, Verdict.FAIL, "answers FAILED_SequenceError, but does not close within 10 s"),
        ({"reached": False, "trouble": "no"}, Verdict.INCONCLUSIVE, "no"),
        ({"absent": "not offered"}, Verdict.NOT_APPLICABLE, "not offered"),
    ],
)
def test_what_was_seen_decides(changes: dict[str, object], verdict: Verdict, found: str) -> None:
    assert judge(case(REFUSED), [Seen(**{**ANSWER, **changes})]) == (verdict, found)  # type: ignore[arg-type]


@pytest.mark.parametrize(("late_s", "verdict"), [(0.0, Verdict.FAIL), (0.1, Verdict.FAIL), (0.2, Verdict.INCONCLUSIVE)])
def test_a_device_is_not_blamed_for_a_tester_that_was_late(late_s: float, verdict: Verdict) -> None:
    for expect, seen in (
        (Expect(within=(60.0, 61.0)), Seen(closed_s=59.8, late_s=late_s)),
        (Expect(timely=("CurrentDemandReq", 0.025)), Seen(times=[("CurrentDemandReq", 0.207)], late_s=late_s)),
        (
            Expect(timely=("CurrentDemandReq", 0.025)),
            Seen(reached=False, times=[("CurrentDemandReq", 0.207)], late_s=late_s),
        ),
    ):
        judged, found = judge(case(expect), [seen])
        assert judged is verdict, found
        assert ("tester itself was late by 0.20 s" in found) is (verdict is Verdict.INCONCLUSIVE)
        seen.facts.append("wrong: status")
        assert judge(case(replace(expect, no_facts=("wrong: *",))), [seen])[0] is Verdict.FAIL or not seen.reached


def test_a_fault_of_each_loop_is_named_a_few_times() -> None:
    seen = Seen(facts=[f"wrong: {n} Wh" for n in (1, 1, *range(2, 201))])
    verdict, found = judge(case(Expect(no_facts=("wrong: *",))), [seen])
    assert verdict is Verdict.FAIL
    assert found.startswith("wrong: 1 Wh, wrong: 2 Wh, ")
    assert found.endswith("wrong: 10 Wh, and 190 more")


def test_an_open_point_fails_nobody_and_says_what_the_device_does() -> None:
    seen = [Seen(**{**ANSWER, "code": "OK", "closed_s": None})]  # type: ignore[arg-type]
    opened = Verdict.OPEN, "device answers ServiceDetailRes OK, does not close"
    assert judge(case(REFUSED, open="sources disagree"), seen) == opened
    assert judge(case(Expect(open=True)), seen) == opened
    assert judge(case(replace(REFUSED, open=True)), seen) == opened


def test_where_a_device_does_what_is_required_nothing_is_open() -> None:
    seen = [Seen(**ANSWER)]  # type: ignore[arg-type]
    passed = judge(case(REFUSED), seen)
    assert passed[0] is Verdict.PASS
    assert judge(case(REFUSED, open="sources disagree"), seen) == passed
    assert judge(case(replace(REFUSED, open=True)), seen) == passed


def test_a_fault_on_the_way_fails_whatever_the_case_is_about() -> None:
    seen = [Seen(reached=False, at_fault=True, trouble="300 V")]
    assert judge(case(REFUSED, open="sources disagree"), seen) == (Verdict.FAIL, "300 V")


@together(
    ("expect", "seen", "verdict"),
    [
        (Expect(within=(60.0, 61.0)), Seen(closed_s=60.4), Verdict.PASS),
        (Expect(within=(60.0, 61.0)), Seen(closed_s=59.0), Verdict.FAIL),
        (Expect(within=(60.0, 61.0)), Seen(), Verdict.FAIL),
        (Expect(timely=("AReq", 1.5)), Seen(times=[("AReq", 1.4), ("BReq", 9.0)]), Verdict.PASS),
        (Expect(timely=("AReq", 1.5)), Seen(times=[("AReq", 1.4), ("AReq", 1.6)]), Verdict.FAIL),
        (Expect(timely=("AReq", 1.5)), Seen(times=[("AReq", 5.0)], reached=False), Verdict.FAIL),
        (Expect(timely=("AReq", 1.5)), Seen(times=[("BReq", 5.0)], reached=False), Verdict.INCONCLUSIVE),
        (Expect(timely=("AReq", 1.5)), Seen(times=[("BReq", 5.0)]), Verdict.FAIL),
        (Expect(facts=("a",)), Seen(facts=["a", "b"]), Verdict.PASS),
        (Expect(facts=("a",)), Seen(facts=["b"]), Verdict.FAIL),
        (Expect(no_facts=("b",)), Seen(facts=["b"]), Verdict.FAIL),
        (Expect(answered=False), Seen(request="AReq", answer="ARes"), Verdict.FAIL),
        (Expect(closes=False), Seen(closed_s=1.0), Verdict.FAIL),
        (REACHES, Seen(reached=False), Verdict.FAIL),
        (REACHES, Seen(reached=False, began=False), Verdict.INCONCLUSIVE),
    ],
)
def test_every_expectation_can_be_missed(expect: Expect, seen: Seen, verdict: Verdict) -> None:
    assert judge(case(expect), [seen])[0] is verdict


def test_a_vehicle_that_does_not_come_back_fails() -> None:
    twice = Case(
        id="EVCC-PAU-DC-x", title="", required="", charger_scripts=(ChargerScript(), ChargerScript(expect=REACHES))
    )
    gone = Seen(reached=False, began=False, trouble="no vehicle connected within 5 s")
    assert judge(twice, [Seen(), gone]) == (Verdict.FAIL, gone.trouble)


def test_what_sdp_answers_is_shown_in_words() -> None:
    from ipaddress import IPv6Address

    good = encode_response(SdpResponse(IPv6Address("fe80::1"), 50_000))
    assert sdp_facts(1, [good]) == ["answers", "answers every request", "security TLS", "transport TCP"]
    odd = encode_response(SdpResponse(IPv6Address("2001:db8::1"), 15118, Security.NONE))
    assert sdp_facts(2, [odd])[1:] == [
        "security NONE",
        "transport TCP",
        "address is not link-local",
        "port outside 49152 to 65535",
    ]
    assert sdp_facts(1, []) == ["does not answer"]
    assert "malformed" in sdp_facts(1, [good[:-1]])[2]


def test_cases_are_chosen_by_words_patterns_and_kind() -> None:
    cases = secc_cases(Family.DC)
    assert {each.group for each in chosen(cases, ["sap", "SVC"])} == {"SAP", "SVC"}
    assert [each.id for each in chosen(cases, ["SEQ-DC-dc_charge_loop-PowerDeliveryReq"])] == [
        "SECC-SEQ-DC-dc_charge_loop-PowerDeliveryReq"
    ]
    assert all("schedule" in each.id.lower() for each in chosen(cases, ["*schedule*"]))
    quick = chosen(cases, quick=True)
    assert {each.group for each in quick} == {each.group for each in cases}
    assert len(quick) < len(cases) / 3
    assert not chosen(cases, ["nothing"])


def test_junit_holds_what_anybody_may_say_and_counts_failures_alone() -> None:
    cases = [case(REFUSED)]
    results = [
        Result(case=cases[0].id, verdict=verdict, found='<&"\x00 said', seconds=0.5)
        for verdict in (Verdict.PASS, Verdict.FAIL, Verdict.OPEN)
    ]
    root = ElementTree.fromstring(junit("v2g conform secc", {"device": "X\x1b"}, cases, results))
    assert (root.get("tests"), root.get("failures"), root.get("skipped"), root.get("time")) == ("3", "1", "1", "1.500")
    failure = root.find("testcase/failure")
    assert failure is not None
    assert failure.get("message") == '<&"\\u0000 said'
    assert [each.get("value") for each in root.iter("property")] == ["X\\u001b", NOTICE]
    assert exit_code(results) == 1
    assert exit_code(results[::2]) == 0
    assert exit_code([Result(case="x", verdict=Verdict.INCONCLUSIVE, found="")]) == 3


def test_wrong_certificates_are_wrong_in_what_they_are_called_after(pki: PkiTree) -> None:
    now = datetime.now(UTC)
    means = means_of_tree(pki, now)
    for found, role, root in (
        (means.contracts, Role.CONTRACT, "mo"),
        (means.identities, Role.VEHICLE, "oem"),
        (means.provisioning, Role.OEM_PROVISIONING, "oem"),
    ):
        reasons = {}
        for name, each in found.items():
            try:
                verify_chain(each.chain[0], each.chain[1:], pki.anchors(root), role=role, at=now)
                reasons[name] = ""
            except CertificateError as error:
                reasons[name] = error.reason
        assert reasons.pop("vehicle" if role is Role.VEHICLE else "good") == ""
        assert reasons.pop("other-vehicle", "") == ""
        assert reasons == {
            "expired": "expired",
            "not-yet-valid": "not_yet_valid",
            "expires-soon": "",
            "unknown-root": "unknown_root",
            "forged": "bad_signature",
        }
    files = (pki.path("vehicle/chain.pem"), pki.path("vehicle/leaf.key"))
    alone = means_of_files(files, [pki.path("v2g/root.pem")], (None, None), (None, None), now)
    assert alone.identities.keys() == {"vehicle", "unknown-root", "forged"}
    assert not alone.contracts
