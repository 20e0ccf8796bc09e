"""The stages of these editions before the charge parameters, beside those of all editions."""

from secc.session import stages
from secc.session.identity import Contract
from secc.session.stages import AfterSetup, JournalOpening, Opened


class Discovered(AfterSetup, frozen=True):
    """Services were listed, with these ids."""

    services: frozenset[int]


class Paying(AfterSetup, frozen=True):
    """Payment and services are selected."""


class Presenting(AfterSetup, frozen=True):
    """Payment by contract is selected; the vehicle presents it next."""


class Challenged(AfterSetup, frozen=True):
    """The contract's chain is valid; `challenge` waits to be signed, that of `opening` unless the journal is open."""

    contract: Contract
    challenge: bytes
    opening: JournalOpening | None = None


class Authorizing(stages.Authorizing, frozen=True, kw_only=True):
    """An external decision is pending."""

    opened: Opened
