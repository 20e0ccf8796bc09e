"""The decision on a vehicle's authorisation, in any edition."""

from datetime import timedelta
from typing import Final

from msgspec.structs import replace

from secc.session.ports import AuthorizationDecided
from secc.session.stages import Authorizing

EXPIRES_SOON: Final = timedelta(days=14)  # V2G20-2218
"""A contract that ends within this is accepted with a hint."""


def on_decided(fact: AuthorizationDecided, stage: Authorizing) -> Authorizing:
    """Return the stage with the CSMS's answer, unless it belongs to an earlier attempt."""
    if fact.attempt != stage.attempt or stage.status is not None:
        return stage
    return replace(stage, status=fact.status)
