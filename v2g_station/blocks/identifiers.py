"""Identifiers of drivers and of their groups: which ones are equal."""

import hashlib

from v2g.ocpp.messages.authorization import IdToken
from v2g.pki.certificates import contract_of


def name_of(id_token: IdToken) -> str:
    """Return the key of an identifier: a hash, since it is personal data (C10.FR.12).

    It ignores case, and of an eMAID separators and check digit, which back ends write or not.
    """
    text = (contract_of(id_token.id_token) if id_token.type == "eMAID" else id_token.id_token).lower()
    return hashlib.sha256(f"{id_token.type}\0{text}".encode()).hexdigest()[:40]


def same(one: IdToken, two: IdToken) -> bool:
    """Return whether two identifiers are equal, as `name_of` compares."""
    return name_of(one) == name_of(two)


def is_same_group(one: str | None, two: str | None) -> bool:
    """Return whether both are the identifier of one group, ignoring case."""
    if not one or not two:
        return False
    return one.lower() == two.lower()
