"""Functional block D, the local authorization list, of our station, beyond the cases of the test lab."""

from typing import Any

from tests.station.bench import Bench


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


def test_a_station_without_a_list_says_zero() -> None:
    assert version(Bench()) == 0


def test_a_list_that_names_somebody_twice_fails_whole() -> None:
    found = Bench()
    assert send(found, 1, entry("A"), entry("a"), full=True) == "Failed"
    assert (version(found), known(found)) == (0, 0)
