"""The decision on a vehicle's authorisation, in any edition."""

from msgspec.structs import replace

from secc.session.ports import AuthorizationDecided
from secc.session.stages import Authorizing


def on_decided(fact: AuthorizationDecided, stage: Authorizing) -> Authorizing:
    """Return the stage with the CSMS's answer, unless it belongs to an earlier attempt."""
    if fact.attempt != stage.attempt or stage.status is not None:
        return stage
    return replace(stage, status=fact.status)
