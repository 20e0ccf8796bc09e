"""The stages of these editions before the charge parameters, beside those of all editions."""

import msgspec

from secc.session import stages
from secc.session.identity import Contract
from secc.session.stages import Opened


class Discovered(msgspec.Struct, frozen=True):
    """Services were listed, with these ids."""

    opened: Opened
    services: frozenset[int]


class Paying(msgspec.Struct, frozen=True):
    """Payment and services are selected."""

    opened: Opened


class Presenting(msgspec.Struct, frozen=True):
    """Payment by contract is selected; the vehicle presents it next."""

    opened: Opened


class Challenged(msgspec.Struct, frozen=True):
    """The contract's chain is valid; `challenge` waits to be signed."""

    opened: Opened
    contract: Contract
    challenge: bytes


class Authorizing(stages.Authorizing, frozen=True, kw_only=True):
    """An external decision is pending."""

    opened: Opened
