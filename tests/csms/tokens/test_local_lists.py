"""Local authorization lists: what is sent makes the station's list what it should be, whatever it was."""

from hypothesis import given
from hypothesis import strategies as st

from csms.tokens.rules import (
    MAX_ENTRIES,
    Key,
    apply,
    difference,
    differential,
    entries_of,
    full,
    read_entries,
    write_entries,
)
from v2g.ocpp.messages.authorization import AuthorizationData, AuthorizationStatus, IdToken, IdTokenInfo


def entry(number: int, status: AuthorizationStatus = "Accepted") -> AuthorizationData:
    return AuthorizationData(
        id_token=IdToken(id_token=f"TOKEN{number}", type="ISO14443"), id_token_info=IdTokenInfo(status=status)
    )


lists = st.dictionaries(st.integers(0, 30), st.sampled_from(["Accepted", "Blocked", "Expired"])).map(
    lambda found: entries_of((entry(number, status) for number, status in found.items()), "2.0.1")  # type: ignore[arg-type]
)


class Station:
    """A station by the letter of D01."""

    def __init__(self) -> None:
        self.version = 0
        self.entries: dict[Key, AuthorizationData] = {}

    def take(self, request: object) -> None:
        assert request.update_type == "Full" or request.version_number > self.version  # type: ignore[attr-defined]
        self.entries = apply(self.entries, request)  # type: ignore[arg-type]
        self.version = request.version_number  # type: ignore[attr-defined]


@given(lists, lists, st.integers(1, 7), st.integers(0, 1000))
def test_full_and_differential_updates_lead_to_the_same_list(
    held: dict[Key, AuthorizationData], wanted: dict[Key, AuthorizationData], limit: int, version: int
) -> None:
    station = Station()
    for request in full(held.values(), version + 1, limit):
        assert len(request.local_authorization_list) <= limit
        station.take(request)
    assert station.entries == held
    for request in differential(difference(held, wanted), station.version + 1, limit):
        assert len(request.local_authorization_list) <= limit
        station.take(request)
    assert station.entries == wanted
    assert read_entries(write_entries(wanted)) == wanted
    for request in full(held.values(), station.version + 1, limit):
        station.take(request)
    assert station.entries == held


def test_an_empty_list_is_sent_as_one_full_message_above_version_0() -> None:
    for version, sent in ((0, 1), (1, 1), (5, 5)):
        (request,) = full((), version, 10)
        assert (request.update_type, request.version_number, request.local_authorization_list) == ("Full", sent, ())
        (request,) = full([entry(1)], version, 10)
        assert (request.update_type, request.version_number) == ("Full", sent)


def test_a_station_that_reports_no_limit_gets_50_entries_a_message() -> None:
    entries = [entry(number) for number in range(60)]
    for make, kinds in ((full, ["Full", "Differential"]), (differential, ["Differential"] * 2)):
        requests = make(entries, 7, MAX_ENTRIES)
        assert [len(each.local_authorization_list) for each in requests] == [50, 10]
        assert [(each.update_type, each.version_number) for each in requests] == list(zip(kinds, (7, 8), strict=True))


def test_nothing_to_change_is_nothing_to_send() -> None:
    assert differential((), 5, 10) == []


def test_identifiers_that_differ_only_in_case_are_one_entry() -> None:
    lower = AuthorizationData(id_token=IdToken(id_token="token1", type="ISO14443"), id_token_info=None)
    assert len(entries_of([entry(1), lower], "2.0.1")) == 1


def test_what_a_station_of_201_cannot_receive_is_left_out() -> None:
    long = AuthorizationData(
        id_token=IdToken(id_token="x" * 40, type="ISO14443"), id_token_info=IdTokenInfo(status="Accepted")
    )
    new = AuthorizationData(id_token=IdToken(id_token="x", type="VIN"), id_token_info=IdTokenInfo(status="Accepted"))
    assert entries_of([long, new], "2.0.1") == {}
    assert len(entries_of([long, new], "2.1")) == 2
