"""What a response code is for, and what follows from it, in ISO 15118-2 and DIN 70121; the tables are the editions'."""

from collections.abc import Mapping
from enum import Enum
from typing import Final

import msgspec

from v2g.exi.declare import Element
from v2g.iso15118.engine.sequence import code_of


class CodeUse(msgspec.Struct, frozen=True):
    """In which responses a code has its place, and `when` the charger sends it."""

    responses: tuple[str, ...]
    when: str


EVERY: Final = ("every",)
"""A code that has its place in every response."""


class Consequence(Enum):
    """What a vehicle does about a response."""

    CONTINUE = "continue"
    RENEW_CONTRACT = "continue, and plan an update of the contract"
    FINISH = "the session is over anyway: close without a fault"
    END = "end at once: lower current, open contactors, state B, no further request"


_ENDING: Final = frozenset({"WeldingDetectionRes", "SessionStopRes"})
"""Responses after which a failure changes nothing; chargers in the field fail them without a reason."""


def consequence(response: Element) -> Consequence:
    """Return what a vehicle does about a response; a code that is not foreseen in it counts by its kind [V2G2-734]."""
    return consequence_of(type(response).__name__, code_of(response))


def consequence_of(response: str, code: str) -> Consequence:
    """Return the same by the names of the response and its code."""
    if code.startswith("FAILED"):
        return Consequence.FINISH if response in _ENDING else Consequence.END
    return Consequence.RENEW_CONTRACT if code == "OK_CertificateExpiresSoon" else Consequence.CONTINUE


def has_place(response: str, code: str, uses: Mapping[str, CodeUse]) -> bool:
    """Return whether a code is foreseen in a response."""
    use = uses[code]
    return use.responses == EVERY or response in use.responses
