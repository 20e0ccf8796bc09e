"""A charger's session as tests make it: its collaborators from what a test says of them."""

from collections.abc import Iterable
from typing import Any, TypeVar

from secc.session.config import SeccConfig
from secc.session.d20.session import SeccSession
from secc.session.edition import SessionStart
from secc.session.facts import SessionFacts
from secc.session.identity import Connection, Identity, SessionTrust
from secc.session.limits import SessionLimits
from secc.session.session import ChargerSession
from v2g.energy.limits import Limit
from v2g.iso15118.engine.session import Entropy

FACTS = frozenset(SessionFacts.__struct_fields__)
CONNECTION = frozenset(Connection.__struct_fields__)
Charger = TypeVar("Charger", bound=ChargerSession)
LIMITS = frozenset({"setpoint", "foreseen"})


def charger_session(
    config: SeccConfig,
    *,
    trust: SessionTrust,
    identity: Identity,
    entropy: Entropy,
    limits: Iterable[Limit] = (),
    meter: Any = None,
    kind: type[Charger] = SeccSession,  # type: ignore[assignment] # the default of a type variable
    **options: Any,
) -> Charger:
    """Return a session; `options` are fields of connection, facts and limits, or arguments of the session."""

    def those(names: frozenset[str]) -> dict[str, Any]:
        return {name: options.pop(name) for name in names & options.keys()}

    start = SessionStart(
        config=config,
        connection=Connection(trust, identity, entropy, **those(CONNECTION)),
        limits=SessionLimits(config, config.services[0].family, limits, **those(LIMITS)),
        facts=SessionFacts(meter=meter, **those(FACTS)).from_here(),
        **options,
    )
    return kind(start)  # type: ignore[call-arg] # an edition's session knows its timing
