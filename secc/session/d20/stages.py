"""The stages of ISO 15118-20 beside those of all editions (`secc.session.stages`)."""

from typing import Final

import msgspec

from secc.session import request_context, stages
from secc.session.config import ControlMode
from secc.session.ports import Paused
from secc.session.request_context import Handlers
from secc.session.stages import AfterPlan, AfterSetup, Authorized, JournalOpening, Opened, Selected, Stage, selected_of
from v2g.energy.grid_support import Function
from v2g.errors import Iso15118Error
from v2g.iso15118.d20.charts import SIDE_CHARTS, Family
from v2g.iso15118.d20.messages.common_messages import Authorization, EvCheckInStatus, EvCheckOutStatus
from v2g.iso15118.d20.messages.common_types import MessageHeader, ResponseCode


class Parking(msgspec.Struct, frozen=True):
    """Progress of the vehicle in and out of its space; None if not reported."""

    check_in: EvCheckInStatus | None = None
    check_out: EvCheckOutStatus | None = None


class RequestContext(request_context.RequestContext, frozen=True, kw_only=True):
    """The present state of everything outside the session; `header` is that of the response."""

    header: MessageHeader
    parking: Parking
    running: object = None
    """Cost of the energy before the services were selected again, if prices were known."""

    @property
    def authorization(self) -> tuple[Authorization, ...]:
        """The identification methods offered on this connection."""
        return tuple(each for each in self.config.authorization if self.connection.tls or each is Authorization.EIM)


class Step(request_context.Step, frozen=True):
    """See `request_context.Step`; `ready` is whether the vehicle is ready for energy, None if it does not report it."""

    parking: Parking | None = None
    ready: bool | None = None


def refuse(code: ResponseCode, why: str, *, reason: str = "") -> Iso15118Error:
    """Return the error that answers the request with `code` and ends the session, with `reason` or else the code."""
    return request_context.refuse(code.name, why, reason=reason)


class Fresh(stages.Fresh, frozen=True):
    """Only the set of messages is known, after the handshake."""

    family: Family | None = None


class Offered(AfterSetup, frozen=True):
    """Authorisation methods were offered; the challenge of `opening` waits to be signed, None for EIM only.

    `signed_by` are the contracts (leaves) that have used it: each may use it once. `refusals` counts
    the refused attempts.
    """

    opening: JournalOpening | None
    attempt: int = 0
    signed_by: frozenset[bytes] = frozenset()
    refusals: int = 0


class Authorizing(stages.Authorizing, frozen=True, kw_only=True):
    """An external decision is pending. `asked` is the request without header: repeats must equal it (V2G20-1582)."""

    offered: Offered
    asked: object


class Variant(msgspec.Struct, frozen=True):
    """The variable parameters in the parameter sets of an energy service."""

    control_mode: ControlMode
    mobility_needs: int
    pricing: int
    functions: frozenset[Function] = frozenset()
    """Grid support that AC DER demands."""


class Discovered(Stage, frozen=True):
    """Services were listed; `details` are the (service, parameter set) pairs that the vehicle has received.

    `variants` are the parameter sets of energy services by their id, once details were requested.
    """

    authorized: Authorized
    services: frozenset[int]
    details: frozenset[tuple[int, int]] = frozenset()
    variants: tuple[Variant, ...] = ()


class Connecting(AfterPlan, frozen=True):
    """The connection device moves to the vehicle."""

    since: float


class Disconnecting(AfterPlan, frozen=True):
    """The connection device moves home."""

    since: float


def authorized_of(stage: Stage) -> Authorized | None:
    """Return the authorization, in any phase after it; None before."""
    selected = selected_of(stage)
    if selected is not None:
        return selected.authorized
    if isinstance(stage, Discovered):
        return stage.authorized
    return stage if isinstance(stage, Authorized) else None


def selected_again(paused: Paused) -> Selected:
    """Return the stage of a joined session: services stay selected, the authorization is valid (V2G20-1844)."""
    opened = Opened(session_id=paused.session_id, evcc_id=paused.evcc_id)
    return Selected(
        authorized=Authorized(opened=opened, contract=paused.contract),
        service=paused.service,
        control_mode=paused.control_mode,
        signed_discharge=paused.signed_discharge,
        checkpoints=paused.checkpoints,
        added=paused.added,
        needs_by_secc=paused.needs_by_secc,
        pricing=paused.pricing,
        functions=paused.functions,
    )


HANDLERS: Final = Handlers[RequestContext]()
SIDE_HANDLERS: Final = {stream: Handlers[RequestContext]() for stream in SIDE_CHARTS}
"""By the payload type of a side stream."""
