"""Contracts that a back end issues for vehicles (M01, M02): requests and answers pass the charger, unchanged
but for the number of further contracts (M01.FR.05)."""

from typing import Final

from msgspec.structs import replace

from secc.session.ports import RequestContract
from secc.session.request_context import RequestContext, Wait
from secc.session.stages import AfterSetup, Stage
from v2g.observe import Observe
from v2g_station.blocks.security.certificates import ContractAnswer, ContractRequest

FOR_OTHERS: Final = frozenset({"unknown_root", "wrong_root"})
"""Faults of a chain that the back end, which knows more vehicle makers and providers, decides on."""


class Installing(Stage, frozen=True):
    """The back end is processing a contract request of a vehicle in the stage `before`.

    `asked` is the request without its header, if the vehicle repeats it: repeats must equal it.
    """

    before: AfterSetup
    since: float
    asked: object = None
    outcome: ContractAnswer | None = None


def is_offered(context: RequestContext) -> bool:
    """Return whether vehicles on this connection may request contracts."""
    return context.config.certificate_installation and context.facts.can_install and context.connection.tls


def forward(
    stage: AfterSetup, context: RequestContext, seconds: float, request: ContractRequest, asked: object = None
) -> Wait:
    """Return the wait of `seconds` for the back end's answer to this request."""
    opened = replace(stage.opened, fetches=stage.opened.fetches + 1)
    command = RequestContract(opened.fetches, request)
    waiting = Installing(before=replace(stage, opened=opened), since=context.now, asked=asked)
    event = Observe("installation", "asked", {"attempt": opened.fetches, "bytes": len(request.exi)})
    return Wait(waiting, seconds, (event, command))
