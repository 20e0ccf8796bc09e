"""Who may connect, and what a failed attempt is called: its kind, its HTTP status, and the remedy that fits it."""

from collections.abc import Callable

from msgspec.structs import asdict

from csms.admission.rules import (
    SECRET,
    Admission,
    Boot,
    Decision,
    Fault,
    Known,
    Unknown,
    admit,
    bad_certificate,
    expired_certificate,
    failed_tls,
    follows,
    lower_profile,
    no_certificate,
    no_password,
    no_version,
    other_name,
    other_organization,
    other_serial_number,
    password_missing_here,
    refused_station,
    serial_number_fits,
    tls_without_need,
    too_many_guesses,
    unknown_station,
    wrong_password,
    wrong_path,
    wrong_user,
)
from tests.together import together
from v2g.ocpp.messages.base import Message
from v2g.ocpp.messages.provisioning import GetBaseReportRequest, GetReportRequest, ResetRequest
from v2g.ocpp.messages.remote_control import TriggerMessageRequest

CONFIGURED: dict[str, Boot] = {"CS": "Pending", "..": "Accepted", ".hidden": "Accepted"}


@together(
    ("identity", "decision", "unknown", "boot"),
    [
        ("CS", "", "refuse", "Pending"),
        ("CS", "", "accept", "Pending"),
        ("CS", "Accepted", "refuse", "Accepted"),
        ("CS", "Rejected", "accept", "Rejected"),
        ("CS", "Refused", "accept", None),
        ("OTHER", "", "refuse", None),
        ("OTHER", "", "pending", "Pending"),
        ("OTHER", "", "accept", "Accepted"),
        ("OTHER", "Pending", "refuse", "Pending"),
        ("OTHER", "Refused", "pending", None),
        ("..", "Accepted", "accept", None),
        (".hidden", "", "accept", None),
    ],
)
def test_a_decision_comes_before_the_configuration_and_that_before_the_policy(
    identity: str, decision: Decision, unknown: Unknown, boot: Boot | None
) -> None:
    admitted = admit(identity, CONFIGURED, decision, unknown)
    assert admitted == (None if boot is None else Admission(boot))
    assert admitted is None or not (admitted.expired or admitted.password)


def test_of_a_station_that_is_new_nothing_is_decided() -> None:
    assert not any(asdict(Known()).values())


def test_a_serial_number_is_the_certificates_or_left_out() -> None:
    assert serial_number_fits(None, "CS")
    assert serial_number_fits("CS", "CS")
    assert not serial_number_fits("other", "CS")


@together(
    ("request_", "actions"),
    [
        (GetBaseReportRequest(request_id=1, report_base="FullInventory"), {"NotifyReport"}),
        (GetReportRequest(request_id=1), {"NotifyReport"}),
        (TriggerMessageRequest(requested_message="StatusNotification"), {"StatusNotification"}),
        *(
            (TriggerMessageRequest(requested_message=f"Sign{kind}Certificate"), {"SignCertificate"})
            for kind in ("ChargingStation", "V2G", "V2G20", "Combined")
        ),
        (ResetRequest(type="Immediate"), set()),
    ],
)
def test_a_station_that_is_not_accepted_yet_sends_only_what_it_was_asked_for(
    request_: Message, actions: set[str]
) -> None:
    assert follows(request_) == actions


@together(
    ("make", "kind", "status"),
    [
        (lambda: wrong_path("/", "/ocpp", 3), "path", 404),
        (lambda: unknown_station("CS"), "unknown_station", 404),
        (lambda: refused_station("CS"), "refused", 403),
        (lambda: no_version((), ("ocpp2.1",)), "subprotocol", 101),
        (lambda: no_password(), "password", 401),
        (lambda: wrong_user("CS"), "password", 401),
        (lambda: wrong_password(), "password", 401),
        (lambda: too_many_guesses(2.5), "password", 429),
        (lambda: password_missing_here(), "password", 401),
        (lambda: no_certificate(), "certificate", 403),
        (lambda: other_name("A", "B"), "certificate", 403),
        (lambda: other_organization("A", "B"), "certificate", 403),
        (lambda: other_serial_number("A"), "serial_number", 403),
        (lambda: bad_certificate("revoked", "it is"), "certificate", 403),
        (lambda: expired_certificate("since then"), "expired", 403),
        (lambda: lower_profile(1, 2), "security_profile", 403),
        (lambda: failed_tls("HTTP_REQUEST"), "tls", 403),
        (lambda: failed_tls("", "self-signed certificate"), "certificate", 403),
        (lambda: tls_without_need(), "tls", 403),
    ],
    ids=lambda case: case[0]().detail,
)
def test_a_fault_has_a_kind_and_an_answer_and_says_what_to_do(
    make: Callable[[], Fault], kind: str, status: int
) -> None:
    fault = make()
    assert (fault.kind, fault.status) == (kind, status)
    assert fault.detail
    assert fault.hint


def test_what_would_reveal_an_identity_is_secret() -> None:
    revealing = [unknown_station("CS"), refused_station("CS"), no_password(), wrong_password(), password_missing_here()]
    assert {each.kind for each in revealing} == SECRET


@together(
    ("base", "profile", "url"),
    [
        ("/ocpp", 1, "ws://HOST:PORT/ocpp"),
        ("/ocpp/", 2, "wss://HOST:PORT/ocpp"),
        ("/", 3, "wss://HOST:PORT/"),
        ("", 3, "wss://HOST:PORT/"),
    ],
)
def test_a_wrong_path_is_reported_with_the_right_one(base: str, profile: int, url: str) -> None:
    fault = wrong_path("/x/y", base, profile)  # type: ignore[arg-type]
    assert fault.detail.endswith(" /x/y")
    assert f" {url} " in fault.hint


OLD, OTHER = "it needs firmware with OCPP 1.6 or newer", "or set without_subprotocol"


@together(
    ("offered", "seen", "hints"),
    [
        ((), "no subprotocol", {OTHER}),
        (("ocpp1.5",), "ocpp1.5", {OLD}),
        (("mqtt", "ocpp1.2"), "mqtt, ocpp1.2", {OLD}),
        (("ocpp2.0",), "ocpp2.0", {OLD}),
        (("OCPP2.1",), "OCPP2.1", {OTHER}),
        (("ocpp1.5", "Ocpp1.6"), "ocpp1.5, Ocpp1.6", {OLD, OTHER}),
        (("mqtt",), "mqtt", set()),
    ],
)
def test_a_station_without_a_common_version_is_told_what_would_help(
    offered: tuple[str, ...], seen: str, hints: set[str]
) -> None:
    fault = no_version(offered, ("ocpp2.1", "ocpp1.6"))
    assert fault.detail.endswith(f" offers {seen}")
    assert fault.hint.startswith("let the station speak one of ocpp2.1, ocpp1.6")
    assert {each for each in (OLD, OTHER) if each in fault.hint} == hints


@together(
    ("reason", "given", "hint"),
    [
        ("unknown_root", "", "client_roots"),
        ("wrong_root", "its own", "client_roots"),
        ("revoked", "its own", "its own"),
        ("revoked", "", "without that fault"),
    ],
)
def test_a_certificate_is_refused_with_the_remedy_for_its_fault(reason: str, given: str, hint: str) -> None:
    fault = bad_certificate(reason, "why", given)
    assert fault.detail == f"{reason}: why"
    assert given or bad_certificate(reason, "why") == fault
    assert hint in fault.hint


LONG = "0123456789" * 50


@together(
    ("make", "length"),
    [
        (lambda: wrong_path(LONG, "/", 2), 200),
        (lambda: no_version((LONG,), ()), 200),
        (lambda: wrong_user(LONG), 60),
        (lambda: other_name(LONG, "CS"), 60),
        (lambda: other_organization(LONG, "CS"), 60),
        (lambda: bad_certificate("revoked", LONG), 200),
        (lambda: expired_certificate(LONG), 300),
        (lambda: failed_tls("", LONG), 200),
    ],
)
def test_what_a_peer_makes_long_is_cut(make: Callable[[], Fault], length: int) -> None:
    fault = make()
    assert LONG[:length] in fault.detail
    assert LONG[: length + 1] not in fault.detail


@together(
    ("reason", "detail", "hint"),
    [
        ("UNSUPPORTED_PROTOCOL", "TLS 1.2", "turn on TLS 1.2"),
        ("NO_SHARED_CIPHER", "cipher suite", "rsa_certificate"),
        ("HTTP_REQUEST", "without TLS", "wss://"),
        ("WRONG_VERSION_NUMBER", "not TLS", "wss://"),
        ("PEER_DID_NOT_RETURN_A_CERTIFICATE", "shows no certificate", "profile 3"),
        ("TLSV1_ALERT_UNKNOWN_CA", "does not trust this server", "root certificate"),
        ("SSLV3_ALERT_BAD_CERTIFICATE", "rejects this server", "host must be a name"),
        ("SSLV3_ALERT_CERTIFICATE_EXPIRED", "expired", "clock"),
        ("SSLV3_ALERT_CERTIFICATE_UNKNOWN", "does not accept this server", "root certificate"),
        ("NEW_REASON", "the TLS handshake failed", "the station's log"),
    ],
)
def test_a_failed_handshake_has_the_remedy_for_openssls_reason(reason: str, detail: str, hint: str) -> None:
    fault = failed_tls(reason)
    assert detail in fault.detail
    assert fault.detail.endswith(f" ({reason.lower()})")
    assert hint in fault.hint


def test_without_a_reason_a_handshake_has_just_failed() -> None:
    assert failed_tls("").detail == "the TLS handshake failed"
    assert "client_roots" in failed_tls("HTTP_REQUEST", "unknown ca").hint
