"""Firmware, and campaigns: which station is next, when a campaign halts and goes back (L01, R136 to R138).

Stations are updated in cohorts, each begun when the one before is settled. A station that has installed the image is
watched for a while; one that fails then goes back to the old image, if the plan names that, else it is listed. A
campaign halts as soon as too many of the settled stations have failed, and takes all with the new image back; an
operator resumes or cancels it. Stations that are offline hold up nothing: they are updated, or taken back, when they
connect, also after the campaign has finished or halted, until `absent_s` has passed.

Stations verify the chain and the signature over the image themselves (L01.FR.04, L01.FR.12).
"""

import base64
import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Final, Literal, NamedTuple

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from v2g.errors import ConfigError, RefusedError
from v2g.ota.sequential import SequentialTest
from v2g.ota.window import parse_window
from v2g.units import DAY_MS, UtcMs

CampaignState = Literal["Running", "Paused", "RollingBack", "Halted", "Finished", "Cancelled"]
MemberState = Literal["Waiting", "Working", "Watched", "Installed", "Failed", "Reverted", "Excluded", "Absent"]

ACTIVE: Final = frozenset({"Running", "RollingBack"})
"""States in which stations are asked to update."""
SETTLED: Final = frozenset({"Installed", "Failed", "Reverted", "Excluded", "Absent"})

SCHEDULED_S: Final = 3 * 86_400
"""How long a station may postpone what it has scheduled: until its window, and a session of days, have ended."""
ABSENT_AFTER_S: Final = 60
"""A station that has been offline for so long is absent: no cohort waits for it."""
SENT_S: Final = 600
"""A request without any answer after so long was never sent: the node that took it has ended."""
FAILED_SESSION: Final = frozenset(
    {"EmergencyStop", "GroundFault", "ImmediateReset", "Other", "OvercurrentFault", "Reboot", "Timeout"}
)
"""Reasons for which a transaction stopped that no driver, vehicle or contract explains."""
NO_CRASH: Final = frozenset({"FirmwareUpdate", "LocalReset", "RemoteReset", "ScheduledReset", "Triggered", "Unknown"})
"""Reasons of BootNotification that report no crash. OCPP 1.6 has none (Unknown), and many of its stations send one when
the update is installed, and with each connection."""

SCHEDULED: Final = frozenset({"DownloadScheduled", "InstallScheduled"})
_DONE: Final = frozenset({"Installed"})
_FAILED: Final = frozenset({"DownloadFailed", "InstallationFailed", "InstallVerificationFailed", "InvalidSignature"})
_REFUSED: Final = frozenset({"Rejected", "InvalidCertificate", "RevokedCertificate"})
_HOPELESS: Final = frozenset({"InvalidSignature", "InvalidCertificate", "RevokedCertificate"})
"""Statuses after which a retry is pointless."""

Fraction = Annotated[float, msgspec.Meta(gt=0.0, le=1.0)]


class Image(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Firmware: its URL, and for secure updates the certificate (PEM) and signature (base64) of L01."""

    location: Annotated[str, msgspec.Meta(min_length=1, max_length=2000)]
    signing_certificate: Annotated[str, msgspec.Meta(max_length=5500)] | None = None
    signature: Annotated[str, msgspec.Meta(max_length=800)] | None = None


class CampaignPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The plan of a campaign.

    `cohorts`: cumulative fraction of stations (0 to 1) for each cohort; the last is 1. `soak_s`: pause
    between cohorts. `daily`: the greatest fraction of the stations that begins within 24 h. `window`: local time at
    which stations are asked to update, by the zone of their site (null: always).
    `watch_s`: after the installation, a crash, failed sessions or silence in this time is a failure. `test` halts the
    campaign, and so does, once `min_settled` are settled, a greater rate of failures than `max_failure_rate`.
    `rollback`: the image to which a halted campaign takes stations back (null: none).
    `parallel` stations at once; `retries` after a failure, each `retry_after_s` later. An attempt that takes longer
    than `patience_s` is a failure, whatever the station reports meanwhile; while it has scheduled the update, three
    days. `absent_s`: for how long a station may be offline and still be updated, or taken back, when it connects.
    `install_after_ms` (UTC) is when stations may install.
    """

    image: Image
    rollback: Image | None = None
    cohorts: tuple[Fraction, ...] = (0.05, 0.25, 1.0)
    soak_s: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] = 0
    daily: Fraction = 0.1
    window: Annotated[str, msgspec.Meta(max_length=11, examples=["22:00-06:00"])] | None = "22:00-06:00"
    watch_s: Annotated[int, msgspec.Meta(ge=0, le=604_800)] = 900
    test: SequentialTest = SequentialTest()
    max_failure_rate: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 1.0
    min_settled: Annotated[int, msgspec.Meta(ge=1)] = 1
    parallel: Annotated[int, msgspec.Meta(ge=1)] = 50
    retries: Annotated[int, msgspec.Meta(ge=0, le=10)] = 1
    retry_after_s: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] = 3600
    patience_s: Annotated[int, msgspec.Meta(ge=60, le=2**31 - 1)] = 14_400
    absent_s: Annotated[int, msgspec.Meta(ge=60, le=2**31 - 1)] = 30 * 86_400
    install_after_ms: UtcMs | None = None

    def __post_init__(self) -> None:
        """Reject an invalid window."""
        if self.window is not None:
            parse_window(self.window)


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A station in a campaign. `status` is its last reported one, or what went wrong after the installation,
    `trouble` why it failed, also once it is back on the old image; `request_id` that of the present attempt, which
    began at `since_ms` (UTC) and had taken `spent_ms`, without what was scheduled, at `updated_ms`. `begun_ms`: its
    first attempt; `installed_ms`: the installation, 0 for none. `forced`: an operator wants it now. `back`: it goes
    back to the old image."""

    station_id: str
    cohort: int
    state: MemberState = "Waiting"
    attempts: int = 0
    status: str = ""
    request_id: int | None = None
    not_before_ms: int = 0
    updated_ms: int = 0
    begun_ms: int = 0
    installed_ms: int = 0
    forced: bool = False
    back: bool = False
    trouble: str = ""
    since_ms: int = 0
    spent_ms: int = 0

    @property
    def failed(self) -> bool:
        """Whether the new image, or its installation, failed at this station."""
        return self.back or self.state == "Failed"


class StationHealth(NamedTuple):
    """What is known of a station since its installation. `heard_ms` (UTC): until when it was connected, or the back end
    was not."""

    crashed: bool
    sessions_failed: bool
    heard_ms: int


class CampaignStep(NamedTuple):
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
        while number >= _at_least_one(plan.cohorts[cohort], len(ordered), cohort):
            cohort += 1
        members.append(Member(station_id=station_id, cohort=cohort))
    return members


def _at_least_one(fraction: float, stations: int, cohort: int = 0) -> int:
    """Return so many stations, rounded down, but one for each cohort so far."""
    return max(cohort + 1, int(fraction * stations + 1e-9))  # 0.07 * 100 is a little more than 7, 0.29 * 100 less


def step(
    plan: CampaignPlan,
    members: Sequence[Member],
    connected: Collection[str],
    now_ms: int,
    *,
    held: Collection[str] = frozenset(),
    absent: Collection[str] = frozenset(),
    finished: bool = False,
) -> CampaignStep:
    """Return what a running campaign does next, or one that has `finished` without those that were offline.

    `held`: stations that must not be disturbed now, unless forced. `absent`: stations that are offline.
    """
    installed = sum(each.state == "Installed" for each in members)
    failed = sum(each.failed for each in members)
    settled = installed + failed
    under_way = sum(
        each.begun_ms > 0 and not each.back and each.state in ("Waiting", "Working", "Watched") for each in members
    )
    # Failures are known earlier than successes: without what is under way, they would be over-represented
    if plan.test.stops(failed, settled + under_way) or (
        settled >= plan.min_settled and failed > plan.max_failure_rate * settled
    ):
        return CampaignStep("Halted" if plan.rollback is None else "RollingBack", _failures(members, settled))
    start = []
    # A cohort begins when all of the former are settled, and have been for `soak_s`. Absent stations give their
    # places in it to the next ones.
    ordered = sorted(members, key=lambda each: each.cohort)
    present = [each for each in ordered if each.state != "Waiting" or each.station_id not in absent]
    soaked_ms = now_ms - plan.soak_s * 1000
    group: list[Member] = []
    for cohort in range(len(plan.cohorts)):
        group = present[: sum(each.cohort <= cohort for each in members)]
        if any(not (each.failed or each.state in SETTLED) or each.updated_ms > soaked_ms for each in group):
            break
    open_ = {each.station_id for each in group}
    begun = sum(each.begun_ms > max(0, now_ms - DAY_MS) for each in members)
    new = max(0, _at_least_one(plan.daily, len(members)) - begun)
    for each in _ready(members, connected, held, now_ms):
        if each.forced or each.back:
            start.append(each.station_id)
        elif (finished or each.station_id in open_) and (each.begun_ms or new):
            new -= not each.begun_ms
            start.append(each.station_id)
    if any(_awaited(each, absent) for each in members):
        return CampaignStep("Running", "", tuple(start[: _free(plan, members)]))
    reason = f"{installed} of {len(members)} stations installed it"
    return CampaignStep("Finished", ", ".join((reason, *([_failures(members)] if failed else ()), *_missing(members))))


def step_back(
    plan: CampaignPlan,
    members: Sequence[Member],
    connected: Collection[str],
    now_ms: int,
    *,
    held: Collection[str] = frozenset(),
    absent: Collection[str] = frozenset(),
    reason: str = "",
) -> CampaignStep:
    """Return what a campaign does next that takes its stations back; `reason`: why it does so."""
    reason = reason.partition("; ")[0]
    back = [each for each in members if each.back]
    ready = [each.station_id for each in _ready(back, connected, held, now_ms)]
    if any(_awaited(each, absent) for each in back) or any(each.state == "Working" for each in members):
        return CampaignStep("RollingBack", reason, tuple(ready[: _free(plan, members)]))
    reverted = sum(each.state == "Reverted" for each in back)
    course = ", ".join((f"{reverted} of {len(back)} stations went back", *_missing(back)))
    return CampaignStep("Halted", f"{reason}; {course}".removeprefix("; "))


def _awaited(member: Member, absent: Collection[str]) -> bool:
    """Return whether a campaign cannot end without a station: one that is offline is updated when it connects."""
    return member.state not in SETTLED and not (member.state == "Waiting" and member.station_id in absent)


def _failures(members: Sequence[Member], settled: int | None = None) -> str:
    """Return how many stations failed, and why."""
    reasons = Counter(each.trouble for each in members if each.failed and each.trouble)
    listed = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
    said = f"{sum(each.failed for each in members)}{'' if settled is None else f' of {settled} stations'} failed"
    return f"{said} ({listed})" if listed else said


def _missing(members: Iterable[Member]) -> Iterator[str]:
    """Yield how many stations are offline or never came."""
    offline = sum(each.state == "Waiting" for each in members)
    if offline:
        yield f"{offline} offline"
    gone = sum(each.state == "Absent" for each in members)
    if gone:
        yield f"{gone} did not connect in time"


def _ready(
    members: Iterable[Member], connected: Collection[str], held: Collection[str], now_ms: int
) -> Iterator[Member]:
    """Yield the stations that wait and could begin, those first that an operator wants."""
    for each in sorted(members, key=lambda each: not each.forced):
        disturbed = each.station_id in held and not each.forced
        if each.state == "Waiting" and each.not_before_ms <= now_ms and each.station_id in connected and not disturbed:
            yield each


def _free(plan: CampaignPlan, members: Sequence[Member]) -> int:
    return max(0, plan.parallel - sum(each.state == "Working" for each in members))


def begin(member: Member, request_id: int, now_ms: int) -> Member:
    """Return a member with its next attempt started."""
    return msgspec.structs.replace(
        member,
        state="Working",
        attempts=member.attempts + 1,
        status="",
        request_id=request_id,
        updated_ms=now_ms,
        begun_ms=member.begun_ms or now_ms,
        since_ms=now_ms,
        spent_ms=0,
    )


def postponable(member: Member, until_ms: int) -> bool:
    """Return whether a station has scheduled an installation that an emergency of the grid until `until_ms` may meet,
    and has not yet been asked to wait for its end. One that an operator wants now is left alone."""
    return (
        member.state == "Working"
        and member.status in SCHEDULED
        and not member.forced
        and not member.back
        and member.not_before_ms < until_ms
    )


def postpone(member: Member, request_id: int, until_ms: int, now_ms: int) -> Member:
    """Return a member that has been asked again, to install after `until_ms`: that is no attempt of its own."""
    return msgspec.structs.replace(
        member, status="", request_id=request_id, not_before_ms=until_ms, updated_ms=now_ms, since_ms=until_ms
    )


def hear(plan: CampaignPlan, member: Member, status: str, now_ms: int) -> Member:
    """Return a member after a message of its station: UpdateFirmware's answer or a FirmwareStatusNotification.

    After its attempt was given up only a completed installation counts.
    """
    late = member.state == "Waiting" or (member.state == "Failed" and (member.back or not member.installed_ms))
    if member.state != "Working" and not (late and status in _DONE):
        return member
    spent_ms = _spent_ms(member, now_ms)
    reported = msgspec.structs.replace(member, status=status, updated_ms=now_ms, spent_ms=spent_ms)
    if member.state == "Failed" and not member.back:  # too late to have succeeded; a campaign that halts takes it back
        return msgspec.structs.replace(reported, installed_ms=now_ms)
    if status in _DONE and member.back:
        return msgspec.structs.replace(reported, state="Reverted")
    if status in _DONE:
        state: MemberState = "Watched" if plan.watch_s else "Installed"
        return msgspec.structs.replace(reported, state=state, installed_ms=now_ms, trouble="")
    if status not in _FAILED and status not in _REFUSED:
        return reported
    return _fail(plan, reported, now_ms, hopeless=status in _HOPELESS)


def judge(plan: CampaignPlan, member: Member, health: StationHealth, now_ms: int) -> Member:
    """Return a watched member as failed or well, or unchanged while that is open (R137).

    One that is away at the end of its watch has failed when nothing was heard of it for as long as a watch.
    """
    if member.state != "Watched":
        return member
    trouble = "Crashed" if health.crashed else "SessionsFailed" if health.sessions_failed else ""
    if not trouble:
        watched_ms = plan.watch_s * 1000
        if now_ms < member.installed_ms + watched_ms:
            return member
        if health.heard_ms >= now_ms:
            return msgspec.structs.replace(member, state="Installed", updated_ms=now_ms)
        if now_ms < health.heard_ms + watched_ms:
            return member
        trouble = "Silent"
    return msgspec.structs.replace(member, state="Failed", status=trouble, trouble=trouble, updated_ms=now_ms)


def turn_back(member: Member) -> Member:
    """Return a member with the new image on its way back to the old one, others unchanged."""
    if member.back or not member.installed_ms or member.state == "Working":
        return member
    return msgspec.structs.replace(
        member, state="Waiting", back=True, forced=False, attempts=0, request_id=None, not_before_ms=0
    )


def give_up(plan: CampaignPlan, member: Member, offline_ms: int, now_ms: int) -> Member:
    """Return a waiting member that has been offline since `offline_ms` (UTC) for too long as one that is no longer
    expected; one with the new image has failed."""
    if member.state != "Waiting" or now_ms < offline_ms + plan.absent_s * 1000:
        return member
    state: MemberState = "Failed" if member.back else "Absent"
    return msgspec.structs.replace(member, state=state, status="Absent", updated_ms=now_ms)


def supersede(member: Member) -> Member:
    """Return a waiting member as left out, since a later campaign has updated it: its image would be an older one."""
    return (
        msgspec.structs.replace(member, state="Excluded", status="Superseded") if member.state == "Waiting" else member
    )


def _spent_ms(member: Member, now_ms: int) -> int:
    """Return how long an attempt has taken, without the time for which the station had scheduled it."""
    return member.spent_ms + (0 if member.status in SCHEDULED else now_ms - member.updated_ms)


def overdue(plan: CampaignPlan, member: Member, now_ms: int) -> Member:
    """Return a member whose attempt has timed out as failed, one whose request was never sent as waiting."""
    if member.state != "Working":
        return member
    if not member.status and now_ms >= member.updated_ms + SENT_S * 1000:
        return unreached(plan, member, now_ms)
    patience_ms, waits = 1000 * plan.patience_s, member.status in SCHEDULED
    latest_ms = max(member.since_ms, plan.install_after_ms or 0) + max(patience_ms, SCHEDULED_S * 1000)
    if now_ms < latest_ms + (0 if waits else patience_ms) and (waits or _spent_ms(member, now_ms) < patience_ms):
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
        begun_ms=member.begun_ms if member.attempts > 1 or member.back else 0,
        not_before_ms=now_ms + min(plan.retry_after_s, 60) * 1000,
        updated_ms=now_ms,
    )


def _fail(plan: CampaignPlan, member: Member, now_ms: int, *, hopeless: bool) -> Member:
    if hopeless or member.attempts > plan.retries:
        return msgspec.structs.replace(member, state="Failed", trouble=member.trouble or member.status)
    return msgspec.structs.replace(member, state="Waiting", not_before_ms=now_ms + plan.retry_after_s * 1000)


_LEAST_RSA: Final = 2048
_LEAST_EC: Final = 224  # A00.FR.502, A00.FR.503


def check_image(image: Image, utc_ms: int) -> None:
    """Raise RefusedError for an invalid, expired or not yet valid certificate, or a missing signature."""
    if (image.signing_certificate is None) != (image.signature is None):
        raise RefusedError("certificate and signature go together", reason="firmware_signature")
    if image.signing_certificate is None or image.signature is None:
        return
    try:
        base64.b64decode(image.signature, validate=True)
    except ValueError:  # not base64, or not even ASCII
        raise RefusedError("the signature is not base64", reason="firmware_signature") from None
    try:
        certificate = x509.load_pem_x509_certificate(image.signing_certificate.encode())
        key = certificate.public_key()
    except ValueError:
        raise RefusedError("the signing certificate is not valid PEM", reason="firmware_certificate") from None
    now = datetime.fromtimestamp(utc_ms / 1000, UTC)
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise RefusedError(
            f"the signing certificate is valid from {certificate.not_valid_before_utc} "
            f"to {certificate.not_valid_after_utc}",
            reason="firmware_certificate",
            hint="stations would answer InvalidCertificate",
        )
    strong = (isinstance(key, rsa.RSAPublicKey) and key.key_size >= _LEAST_RSA) or (
        isinstance(key, ec.EllipticCurvePublicKey) and key.key_size >= _LEAST_EC
    )
    if not strong:
        raise RefusedError(
            "the key of the signing certificate is too weak, or of a type that OCPP does not allow",
            reason="firmware_certificate",
        )
