"""Messages that bring a station's local authorization list to its desired content (D01)."""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from csms.domain.authorization.authorize import normalise
from v2g import typed_json
from v2g.errors import OcppError
from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.local_list import AuthorizationData, SendLocalListRequest, UpdateType
from v2g.ocpp.routes import Version
from v2g.ocpp.versions import write_payload

Key = tuple[str, str]
"""Type and normalised identifier of a token: the unique key of list entries (D01.FR.06)."""

Entries = Mapping[Key, AuthorizationData]

MAX_ENTRIES: Final = 50
"""Entries in one message, when the station has not reported its ItemsPerMessageSendLocalList (D01.FR.11)."""


def key_of(token: IdToken) -> Key:
    """Return a token's key in a list."""
    return token.type, normalise(token.type, token.id_token)


def entries_of(data: Iterable[AuthorizationData], version: Version) -> dict[Key, AuthorizationData]:
    """Return entries by key, without those that a station of this version does not support (a longer identifier)."""
    return {key_of(each.id_token): each for each in data if _fits(each, version)}


def removal(key: Key) -> AuthorizationData:
    """Return the entry that removes a token from the list (D01.FR.17)."""
    return AuthorizationData(id_token=IdToken(type=key[0], id_token=key[1]))


def difference(held: Entries, wanted: Entries) -> tuple[AuthorizationData, ...]:
    """Return the changes from `held` to `wanted`: new and changed entries, then removals."""
    changed = [entry for key, entry in wanted.items() if held.get(key) != entry]
    return (*changed, *(removal(key) for key in held if key not in wanted))


def apply(held: Entries, request: SendLocalListRequest) -> dict[Key, AuthorizationData]:
    """Return the list after an accepted request (D01.FR.04, .15 to .17)."""
    entries = {} if request.update_type == "Full" else dict(held)
    for entry in request.local_authorization_list:
        if entry.id_token_info is None:
            entries.pop(key_of(entry.id_token), None)
        else:
            entries[key_of(entry.id_token)] = entry
    return entries


def full(entries: Iterable[AuthorizationData], version_number: int, limit: int) -> list[SendLocalListRequest]:
    """Return the messages that replace a list: one Full, then Differential ones for the rest (D01.FR.15).

    Their versions count up from `version_number`, since a station rejects one that it has (D01.FR.19).
    """
    return _requests(tuple(entries), version_number, limit, "Full") or [
        SendLocalListRequest(version_number=max(version_number, 1), update_type="Full")  # D01.FR.04
    ]


def differential(entries: Iterable[AuthorizationData], version_number: int, limit: int) -> list[SendLocalListRequest]:
    """Return the messages that change a list; none for no entries."""
    return _requests(tuple(entries), version_number, limit, "Differential")


def _requests(
    entries: tuple[AuthorizationData, ...], version_number: int, limit: int, first: UpdateType
) -> list[SendLocalListRequest]:
    return [
        SendLocalListRequest(
            local_authorization_list=entries[begin : begin + limit],
            version_number=max(version_number, 1) + number,  # D01.FR.18
            update_type="Differential" if number else first,
        )
        for number, begin in enumerate(range(0, len(entries), limit))
    ]


def _fits(entry: AuthorizationData, version: Version) -> bool:
    try:
        write_payload(full((entry,), 1, 1)[0], version)
    except OcppError:
        return False
    return True


def read_entries(text: str) -> dict[Key, AuthorizationData]:
    """Return entries from JSON text."""
    return {key_of(each.id_token): each for each in typed_json.decode(text, tuple[AuthorizationData, ...])}


def write_entries(entries: Entries) -> str:
    """Return entries as JSON text."""
    return msgspec.json.encode(tuple(entries.values())).decode()
