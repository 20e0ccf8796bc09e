"""Firmware campaigns: which station is updated next, and when the campaign halts (L01).

Stations are updated in cohorts, each begun when the one before is settled successfully. A campaign halts as
soon as too many of the settled stations have failed; an operator resumes or cancels it.
"""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from typing import Annotated, Final, Literal, NamedTuple

import msgspec

from v2g.errors import ConfigError
from v2g.units import UtcMs

CampaignState = Literal["Running", "Halted", "Finished", "Cancelled"]
MemberState = Literal["Waiting", "Working", "Installed", "Failed"]

SETTLED: Final = frozenset({"Installed", "Failed"})

_DONE: Final = frozenset({"Installed"})
_FAILED: Final = frozenset({"DownloadFailed", "InstallationFailed", "InstallVerificationFailed", "InvalidSignature"})
_REFUSED: Final = frozenset({"Rejected", "InvalidCertificate", "RevokedCertificate"})
_HOPELESS: Final = frozenset({"InvalidSignature", "InvalidCertificate", "RevokedCertificate"})
"""Statuses after which a retry is pointless."""

Fraction = Annotated[float, msgspec.Meta(gt=0, le=1)]


class Image(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Firmware: its URL, and for secure updates the certificate (PEM) and signature (base64) of L01."""

    location: Annotated[str, msgspec.Meta(min_length=1, max_length=2000)]
    signing_certificate: Annotated[str, msgspec.Meta(max_length=5500)] | None = None
    signature: Annotated[str, msgspec.Meta(max_length=800)] | None = None


class CampaignPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The plan of a campaign.

    `cohorts`: cumulative fraction of stations (0 to 1) for each cohort; the last is 1. `soak_s`: pause
    between cohorts. `max_failure_rate` of the settled stations halts the campaign once `min_settled` are settled.
    `parallel` stations at once; `retries` after a failure, each `retry_after_s` later; `patience_s` without a message
    from a station counts as a failure. `install_after_ms` (UTC) is when stations may install.
    """

    image: Image
    cohorts: tuple[Fraction, ...] = (0.05, 0.25, 1.0)
    soak_s: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] = 0
    max_failure_rate: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.1
    min_settled: Annotated[int, msgspec.Meta(ge=1)] = 1
    parallel: Annotated[int, msgspec.Meta(ge=1)] = 50
    retries: Annotated[int, msgspec.Meta(ge=0, le=10)] = 1
    retry_after_s: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] = 3600
    patience_s: Annotated[int, msgspec.Meta(ge=60, le=2**31 - 1)] = 14_400
    install_after_ms: UtcMs | None = None


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A station in a campaign. `status` is its last reported one, `request_id` that of the present attempt."""

    station_id: str
    cohort: int
    state: MemberState = "Waiting"
    attempts: int = 0
    status: str = ""
    request_id: int | None = None
    not_before_ms: int = 0
    updated_ms: int = 0


class Step(NamedTuple):
    """The next step: the campaign's `state` with the `reason`, and the stations whose attempt begins."""

    state: CampaignState
    reason: str
    start: tuple[str, ...] = ()


def check(plan: CampaignPlan) -> None:
    """Raise ConfigError unless the cohorts ascend to 1."""
    if not plan.cohorts or plan.cohorts[-1] != 1 or list(plan.cohorts) != sorted(set(plan.cohorts)):
        raise ConfigError(f"cohorts {list(plan.cohorts)} do not ascend to 1", hint="for example [0.05, 0.25, 1.0]")


def assign(station_ids: Iterable[str], plan: CampaignPlan, seed: str) -> list[Member]:
    """Return the members of a new campaign. The assignment to cohorts is arbitrary but deterministic."""
    ordered = sorted(set(station_ids), key=lambda each: hashlib.sha256(f"{seed}/{each}".encode()).digest())
    members = []
    cohort = 0
    for number, station_id in enumerate(ordered):
        while number >= max(cohort + 1, round(plan.cohorts[cohort] * len(ordered))):
            cohort += 1
        members.append(Member(station_id=station_id, cohort=cohort))
    return members


def step(plan: CampaignPlan, members: Sequence[Member], connected: Collection[str], now_ms: int) -> Step:
    """Return what a running campaign does next."""
    settled = [each for each in members if each.state in SETTLED]
    failed = sum(each.state == "Failed" for each in settled)
    if len(settled) >= plan.min_settled and failed > plan.max_failure_rate * len(settled):
        return Step("Halted", f"{failed} of {len(settled)} stations failed")
    if len(settled) == len(members):
        return Step("Finished", f"{len(settled) - failed} of {len(members)} stations installed it")
    cohort = _open_cohort(plan, members, now_ms)
    working = sum(each.state == "Working" for each in members)
    ready = [
        each.station_id
        for each in members
        if each.state == "Waiting"
        and each.cohort <= cohort
        and each.not_before_ms <= now_ms
        and each.station_id in connected
    ]
    return Step("Running", "", tuple(ready[: max(0, plan.parallel - working)]))


def _open_cohort(plan: CampaignPlan, members: Sequence[Member], now_ms: int) -> int:
    """Return the present cohort: the first with a member that is not settled, or has not been for `soak_s`."""
    soaked_ms = now_ms - plan.soak_s * 1000
    return min(each.cohort for each in members if each.state not in SETTLED or each.updated_ms > soaked_ms)


def begin(member: Member, request_id: int, now_ms: int) -> Member:
    """Return a member with its next attempt started."""
    return msgspec.structs.replace(
        member,
        state="Working",
        attempts=member.attempts + 1,
        status="",
        request_id=request_id,
        updated_ms=now_ms,
    )


def hear(plan: CampaignPlan, member: Member, status: str, now_ms: int) -> Member:
    """Return a member after a message of its station: UpdateFirmware's answer or a FirmwareStatusNotification."""
    if member.state != "Working":
        return member
    reported = msgspec.structs.replace(member, status=status, updated_ms=now_ms)
    if status in _DONE:
        return msgspec.structs.replace(reported, state="Installed")
    if status not in _FAILED and status not in _REFUSED:
        return reported
    return _fail(plan, reported, now_ms, hopeless=status in _HOPELESS)


def overdue(plan: CampaignPlan, member: Member, now_ms: int) -> Member:
    """Return a member whose attempt has timed out as failed, else unchanged."""
    if member.state != "Working" or now_ms < member.updated_ms + plan.patience_s * 1000:
        return member
    silent = msgspec.structs.replace(member, status="Silent", updated_ms=now_ms)
    return _fail(plan, silent, now_ms, hopeless=False)


def unreached(plan: CampaignPlan, member: Member, now_ms: int) -> Member:
    """Return a member whose request was not delivered: the attempt does not count, it waits again."""
    return msgspec.structs.replace(
        member,
        state="Waiting",
        attempts=member.attempts - 1,
        status="Unreached",
        not_before_ms=now_ms + min(plan.retry_after_s, 60) * 1000,
        updated_ms=now_ms,
    )


def _fail(plan: CampaignPlan, member: Member, now_ms: int, *, hopeless: bool) -> Member:
    if hopeless or member.attempts > plan.retries:
        return msgspec.structs.replace(member, state="Failed")
    return msgspec.structs.replace(member, state="Waiting", not_before_ms=now_ms + plan.retry_after_s * 1000)
