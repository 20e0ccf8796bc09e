"""Certification cases of functional block D, the local authorization list: the station."""

from typing import Any

from tests.certification.station.bench import Bench


def entry(token: str, status: str | None = "Accepted") -> dict[str, Any]:
    """An entry of the list; without a status it takes one away."""
    found: dict[str, Any] = {"idToken": {"idToken": token, "type": "ISO14443"}}
    return found | ({"idTokenInfo": {"status": status}} if status else {})


def send(found: Bench, version: int, *entries: dict[str, Any], full: bool = False) -> str:
    """Send a list."""
    more = {"localAuthorizationList": list(entries)} if entries else {}
    kind = "Full" if full else "Differential"
    status: str = found.ask("SendLocalList", {"versionNumber": version, "updateType": kind} | more)["status"]
    return status


def version(found: Bench) -> int:
    """The version of the list."""
    number: int = found.ask("GetLocalListVersion", {})["versionNumber"]
    return number


def known(found: Bench) -> int:
    """How many entries there are."""
    return int(found.get("LocalAuthListCtrlr", "Entries")["attributeValue"])


def test_tc_d_01_cs_full() -> None:
    found = Bench()
    assert send(found, 5, entry("A"), entry("B"), full=True) == "Accepted"
    assert (version(found), known(found)) == (5, 2)
    assert send(found, 2, entry("C"), full=True) == "Accepted"
    assert (version(found), known(found)) == (2, 1)


def test_tc_d_02_cs_differential_update() -> None:
    found = Bench()
    send(found, 1, entry("A"), full=True)
    assert send(found, 2, entry("A", "Blocked"), entry("B")) == "Accepted"
    assert (version(found), known(found)) == (2, 2)


def test_tc_d_03_cs_differential_remove() -> None:
    found = Bench()
    send(found, 1, entry("A"), entry("B"), full=True)
    assert send(found, 2, entry("A", None)) == "Accepted"
    assert (version(found), known(found)) == (2, 1)


def test_tc_d_04_cs_full_and_empty() -> None:
    found = Bench()
    send(found, 1, entry("A"), full=True)
    assert send(found, 2, full=True) == "Accepted"
    assert (version(found), known(found)) == (2, 0)


def test_tc_d_05_cs_differential_and_empty() -> None:
    found = Bench()
    send(found, 1, entry("A"), full=True)
    assert send(found, 2) == "Accepted"
    assert (version(found), known(found)) == (2, 1)


def test_tc_d_06_cs_version_mismatch() -> None:
    found = Bench()
    send(found, 5, entry("A"), full=True)
    assert send(found, 5, entry("B")) == "VersionMismatch"
    assert (version(found), known(found)) == (5, 1)


def test_tc_d_07_cs_survives_a_reboot() -> None:
    found = Bench()
    send(found, 5, entry("A"), full=True)
    found.power_loss()
    assert (version(found), known(found)) == (5, 1)


def test_tc_d_08_cs_version() -> None:
    found = Bench()
    send(found, 1, entry("A"), full=True)
    assert version(found) == 1


def test_a_station_without_a_list_says_zero() -> None:
    assert version(Bench()) == 0


def test_tc_d_10_cs_version_of_a_list_that_is_off() -> None:
    found = Bench()
    send(found, 1, entry("A"), full=True)
    assert found.set("LocalAuthListCtrlr", "Enabled", "false") == "Accepted"
    assert version(found) == 0


def test_a_list_that_names_somebody_twice_fails_whole() -> None:
    found = Bench()
    assert send(found, 1, entry("A"), entry("a"), full=True) == "Failed"
    assert (version(found), known(found)) == (0, 0)
