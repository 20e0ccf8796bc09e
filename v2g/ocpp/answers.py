"""What a station answers to the CSMS: `(request, view) -> Reply(response, effects)`, without I/O.

`View` is what the station knows at that moment; effects are what it has to do once it has answered. The functions
stand in `answers_charging` and `answers_device`, which are imported when one of their actions first arrives.
"""

import importlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

import msgspec

from v2g.errors import OcppError
from v2g.ocpp import routes
from v2g.ocpp.messages.availability import ConnectorStatus
from v2g.ocpp.messages.base import EVSE, Message, StatusInfo
from v2g.ocpp.profiles import Installed, OpenTransaction
from v2g.ocpp.routes import Version

VENDOR: Final = "org.v2g-engine"
"""vendorId of this project's DataTransfer messages: `GridSignal` to the station, `JournalEntries` from it."""

Registration = Literal["Accepted", "Pending", "Rejected", "Unknown"]


class EvseView(msgspec.Struct, frozen=True):
    """One EVSE with one connector."""

    evse_id: int
    status: ConnectorStatus
    operative: bool = True


class View(msgspec.Struct, frozen=True, kw_only=True):
    """What answers depend on. `values` and `public` are the device model's values by key.

    `queued` counts messages waiting by transaction id. `can_reset`, `can_start` and `can_unlock` say what the
    hardware and its owner allow.
    """

    version: Version
    registration: Registration
    utc_ms: int
    evses: tuple[EvseView, ...]
    max_power_w: int
    transactions: tuple[OpenTransaction, ...] = ()
    profiles: tuple[Installed, ...] = ()
    values: Mapping[str, str] = MappingProxyType({})
    queued: Mapping[str, int] = MappingProxyType({})
    can_reset: bool = False
    can_start: bool = False
    can_unlock: bool = False

    def transaction(self, transaction_id: str) -> OpenTransaction | None:
        """Return an open transaction by its id."""
        return next((t for t in self.transactions if t.transaction_id == transaction_id), None)

    def transaction_on(self, evse_id: int) -> OpenTransaction | None:
        """Return the open transaction of an EVSE."""
        return next((t for t in self.transactions if t.evse_id == evse_id), None)

    def evse(self, evse_id: int) -> EvseView | None:
        """Return an EVSE by its number."""
        return next((e for e in self.evses if e.evse_id == evse_id), None)


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """Base of what is to be done after the answer went out."""


class KeepValue(Effect, frozen=True, kw_only=True):
    """Store a device model value."""

    key: str
    value: str


class KeepProfiles(Effect, frozen=True, kw_only=True):
    """Store these profiles in place of all former ones."""

    profiles: tuple[Installed, ...]


class GridSignalReceived(Effect, frozen=True, kw_only=True):
    """The CSMS passed on the grid operator's signal, already checked; `data` is its JSON."""

    data: bytes


class SetAvailability(Effect, frozen=True, kw_only=True):
    """Take EVSEs in or out of service; those with a transaction when it has ended."""

    evse_ids: tuple[int, ...]
    operative: bool


class StopRemotely(Effect, frozen=True, kw_only=True):
    """End a transaction at the operator's wish."""

    transaction_id: str


class StartRemotely(Effect, frozen=True, kw_only=True):
    """Let whoever is at the EVSE charge under `id_token`."""

    evse_id: int
    remote_start_id: int
    id_token: str
    id_token_type: str


class Unlock(Effect, frozen=True, kw_only=True):
    """Release a connector."""

    evse_id: int


class Restart(Effect, frozen=True, kw_only=True):
    """Restart the station, or one EVSE; `at_once` ends transactions first, else it waits for them."""

    evse_id: int | None
    at_once: bool


class SendReport(Effect, frozen=True, kw_only=True):
    """Send these requests, one after the other."""

    requests: tuple[Message, ...]


class Trigger(Effect, frozen=True, kw_only=True):
    """Send a message now, also while registration is pending."""

    message: str
    evse: EVSE | None


class CostShown(Effect, frozen=True, kw_only=True):
    """Show the running cost, in the tariff's currency, to the driver."""

    transaction_id: str
    total: float


class Reply(NamedTuple):
    """A response and what follows from it."""

    response: Message
    effects: tuple[Effect, ...] = ()


_HOME: Final[Mapping[str, str]] = MappingProxyType(
    {
        **dict.fromkeys(
            (
                "ClearChargingProfile",
                "CostUpdated",
                "DataTransfer",
                "GetChargingProfiles",
                "GetCompositeSchedule",
                "GetTransactionStatus",
                "RequestStartTransaction",
                "RequestStopTransaction",
                "SetChargingProfile",
            ),
            "answers_charging",
        ),
        **dict.fromkeys(
            (
                "ChangeAvailability",
                "ClearCache",
                "GetBaseReport",
                "GetReport",
                "GetVariables",
                "Reset",
                "SetVariables",
                "TriggerMessage",
                "UnlockConnector",
            ),
            "answers_device",
        ),
    }
)

HANDLED: Final[frozenset[str]] = frozenset(_HOME)
"""Actions that a station answers; others are NotSupported."""


def answer(request: Message, view: View) -> Reply:
    """Return the answer to a request of the CSMS.

    Raises OcppError: SecurityError while the CSMS has rejected the station (B03.FR.08), or what is wrong with a
    value that the schema cannot judge.
    """
    if view.registration == "Rejected":
        raise OcppError("the CSMS has rejected this station", answer="SecurityError")
    action = routes.action_of(request)
    functions = importlib.import_module(f"v2g.ocpp.{_HOME[action]}").ANSWERS
    reply: Reply = functions[action](request, view)
    return reply


def because(code: str, text: str = "") -> StatusInfo:
    """Return a StatusInfo; codes are those of appendix 5 where one fits."""
    return StatusInfo(reason_code=code, additional_info=text or None)


Answers = Mapping[str, Any]
