"""The stages of these editions before the charge parameters, beside those of all editions."""

import msgspec

from secc.session import stages
from secc.session.stages import Opened


class Discovered(msgspec.Struct, frozen=True):
    """Services were listed, with these ids."""

    opened: Opened
    services: frozenset[int]


class Paying(msgspec.Struct, frozen=True):
    """Payment and services are selected."""

    opened: Opened


class Authorizing(stages.Authorizing, frozen=True, kw_only=True):
    """An external decision is pending."""

    opened: Opened
