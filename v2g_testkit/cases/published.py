"""The published ids of ISO 15118-4 for chargers: which exist, which are not tested and why, which -20 repeats.

Ids only, as in the public port of its test suite (github.com/rcuquemelle/ISO15118_4_TestEnv, 2022-07). They are for
ISO 15118-2, whose cases have them in `v2g_testkit.cases.v2g_message.secc_cases`.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from v2g.iso15118.d20.charts import Family
from v2g.iso15118.engine.sequence import State
from v2g.tables import table
from v2g_testkit.cases.case import Ask, Case
from v2g_testkit.cases.v2g_message.secc_cases import PLACES, Scope, published_id

_CMN: Final[tuple[Scope, ...]] = ("CMN",)
_BOTH: Final[tuple[Scope, ...]] = ("AC", "DC")


class Groups(msgspec.Struct, frozen=True):
    """Number of published cases of each message in these scopes; they begin at 1 without gaps."""

    scopes: tuple[Scope, ...]
    cases: dict[str, int]


class _Published(msgspec.Struct, frozen=True):
    groups: tuple[Groups, ...]
    repeated: dict[str, tuple[tuple[str, int], ...]]


_PUBLISHED: Final = table("v2g_testkit.cases", "published.toml", _Published)
GROUPS: Final = _PUBLISHED.groups


def published() -> Iterator[str]:
    """Yield every published id."""
    for group in GROUPS:
        for scope in group.scopes:
            for message, count in group.cases.items():
                yield from (published_id(scope, message, number) for number in range(1, count + 1))


_WAKES: Final = "the charger wakes the vehicle by the control pilot, which the tester does not watch"
_LINK: Final = "the tester does not set up the data link, from which the time of CommunicationSetup runs"
_TARIFF: Final = "whether a charger sends a SalesTariff is for its back end"
_HELD: Final = "the charger or its back end must be held in Ongoing by hand"
_STATE_D: Final = "the tester shows state C only"
_RECEIPTS: Final = "whether a charger asks for receipts is for its configuration"
_FAULTY_CA: Final = "the tester makes expired, forged and foreign certificates, not faulty sub-CAs or contents"


class Left(msgspec.Struct, frozen=True):
    """Numbers of a group that are not tested."""

    scopes: tuple[Scope, ...]
    message: str
    numbers: tuple[int, ...]
    why: str

    def ids(self) -> Iterator[str]:
        """Yield the published ids."""
        for scope in self.scopes:
            for number in self.numbers:
                yield published_id(scope, self.message, number)


LEFT: Final = (
    Left(_CMN, "SDP", (4, 5, 6), _LINK),
    Left(_CMN, "SupportedAppProtocol", (5,), _LINK),
    Left(_BOTH, "SessionSetup", (4, 5, 6), _WAKES),
    Left(_BOTH, "ServiceDiscovery", (2,), _WAKES),
    Left(_CMN, "CertificateInstallation", (8,), _FAULTY_CA),
    Left(_CMN, "CertificateUpdate", (14, 15, 17), _FAULTY_CA),
    Left(_CMN, "PaymentDetails", (8, 9, 10), _FAULTY_CA),
    Left(_CMN, "Authorization", (14, 15, 16, 17), _HELD),
    Left(_BOTH, "ChargeParameterDiscovery", (8, 9, 10, 11, 13, 15, 18, 20, 21, 24, 26, 27), _TARIFF),
    Left(_BOTH, "ChargeParameterDiscovery", (14,), _HELD),
    Left(_BOTH, "ChargeParameterDiscovery", tuple(range(29, 37)), _WAKES),
    Left(("DC",), "CableCheck", (2,), _STATE_D),
    Left(("DC",), "CableCheck", (6, 7), _HELD),
    Left(("AC",), "PowerDelivery", (2,), _STATE_D),
    Left(("AC",), "ChargingStatus", (2, 7, 9), _RECEIPTS),
    Left(("DC",), "CurrentDemand", (2, 7, 9), _RECEIPTS),
    Left(_BOTH, "MeteringReceipt", tuple(range(1, 8)), _RECEIPTS),
)

# -- ISO 15118-20 -------------------------------------------------------------------------------------------------

_MESSAGES: Final = {"PaymentServiceSelection": "ServiceSelection"}
"""Message of ISO 15118-2 -> that of ISO 15118-20, if not of the same name."""


def repeated(case: Case) -> tuple[str, ...]:
    """Return the ids of ISO 15118-4 whose tests a case for chargers of ISO 15118-20 repeats with its own messages."""
    name, family = case.id.removeprefix("SECC-"), case.family
    if family is None:
        return _listed(name)
    if family not in (Family.AC, Family.DC):  # ISO 15118-4 knows no other
        return ()
    own = f"-{family.value}-"
    return (*_listed(name), *_listed(name.replace(own, "-*-", 1)), *_by_template(case, family))


def _listed(name: str) -> tuple[str, ...]:
    return tuple(f"TC_SECC_{each}_{number:03}" for each, number in _PUBLISHED.repeated.get(name, ()))


def _by_template(case: Case, family: Family) -> Iterator[str]:
    """Yield the ids of a case about the order of messages, the session, silence or response times."""
    rest = case.id.split("-", 3)[-1]
    do = case.scripts[0].do
    sent = do.request if isinstance(do, Ask) else ""
    for scope, message, goal, numbers, fields in PLACES:
        if scope not in ("CMN", family.value) or fields.keys() & {"pay", "detour"}:
            continue
        state = {
            "ServiceDetail": State.SERVICE_DETAIL,
            "ChargeParameterDiscovery": State[f"{family.value}_CHARGE_PARAMETER_DISCOVERY"],
        }.get(message, goal)
        good, sequence, session, silence = numbers
        loop = message in ("ChargingStatus", "CurrentDemand")
        request = f"{'ChargeLoop' if loop else _MESSAGES.get(message, message)}Req"
        names = (request, f"{family.value}_{request}")
        other = "AuthorizationReq" if message == "ServiceDiscovery" else "ServiceDiscoveryReq"
        number = None
        match case.group:
            case "SEQ" if rest == f"{state.value}-{other}":
                number = sequence
            case "SID" if rest == state.value and sent in names:
                number = session
            case "SIL" if rest == state.value:
                number = silence
            case "TIM" if rest in names and "change" not in fields:
                number = good
        if number is not None:
            yield published_id(scope, message, number)
