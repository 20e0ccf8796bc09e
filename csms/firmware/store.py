"""Firmware campaigns and the progress of each of their stations."""

from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    ForeignKeyConstraint,
    Index,
    Integer,
    String,
    Table,
    Text,
    false,
    insert,
    select,
    update,
)

from csms.db.base import metadata, row_id
from csms.firmware.rules import (
    ACTIVE,
    FAILED_SESSION,
    REQUESTED_BOOTS,
    SCHEDULED,
    CampaignPlan,
    CampaignState,
    Member,
    StationHealth,
)
from csms.stations.tables import stations
from csms.transactions.rules import Dated
from csms.transactions.tables import transactions
from v2g import typed_json

campaigns: Final = Table(
    "campaigns",
    metadata,
    Column("campaign_id", row_id, primary_key=True),
    Column("name", String(100), nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", Text, nullable=False, default="", server_default=""),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Column("document", Text, nullable=False),
    Index(None, "state"),
)

campaign_members: Final = Table(
    "campaign_members",
    metadata,
    Column("campaign_id", BigInteger, primary_key=True, autoincrement=False),
    Column("station_id", String(48), primary_key=True),
    Column("cohort", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("status", String(40), nullable=False, default="", server_default=""),
    Column("request_id", BigInteger),
    Column("not_before_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Column("begun_ms", BigInteger, nullable=False, default=0, server_default="0"),
    Column("installed_ms", BigInteger, nullable=False, default=0, server_default="0"),
    Column("forced", Boolean, nullable=False, default=False, server_default=false()),
    Column("back", Boolean, nullable=False, default=False, server_default=false()),
    Column("trouble", String(40), nullable=False, default="", server_default=""),
    Column("since_ms", BigInteger, nullable=False, default=0, server_default="0"),
    Column("spent_ms", BigInteger, nullable=False, default=0, server_default="0"),
    ForeignKeyConstraint(["campaign_id"], ["campaigns.campaign_id"]),
    Index(None, "request_id"),
)


class Campaign(msgspec.Struct, frozen=True, kw_only=True):
    """A stored campaign; `reason` says why it halted or ended."""

    campaign_id: int
    name: str
    state: CampaignState
    reason: str
    created_ms: int
    updated_ms: int
    plan: CampaignPlan


def create(connection: Connection, name: str, plan: CampaignPlan, now_ms: int) -> int:
    """Store a campaign without members; return its number."""
    inserted = connection.execute(
        insert(campaigns).values(
            name=name, state="Running", created_ms=now_ms, updated_ms=now_ms,
            document=msgspec.json.encode(plan).decode(),
        )
    ).inserted_primary_key  # fmt: skip
    assert inserted is not None
    number: int = inserted[0]
    return number


def add_members(connection: Connection, campaign_id: int, members: list[Member]) -> None:
    """Add the stations of a new campaign."""
    rows = [{"campaign_id": campaign_id, **msgspec.structs.asdict(member)} for member in members]
    if rows:
        connection.execute(insert(campaign_members), rows)


def save_state(
    connection: Connection, campaign_id: int, state: CampaignState, reason: str, now_ms: int, *, before: CampaignState
) -> bool:
    """Store the state of a campaign if `before` is its present one; return whether it was."""
    where = (campaigns.c.campaign_id == campaign_id) & (campaigns.c.state == before)
    changed = update(campaigns).where(where).values(state=state, reason=reason, updated_ms=now_ms)
    return connection.execute(changed).rowcount == 1


def save_member(connection: Connection, campaign_id: int, member: Member, seen_ms: int | None = None) -> None:
    """Store the progress of a station; with `seen_ms` only if nothing was stored since."""
    values = msgspec.structs.asdict(member)
    where = (campaign_members.c.campaign_id == campaign_id) & (
        campaign_members.c.station_id == values.pop("station_id")
    )
    if seen_ms is not None:
        where &= campaign_members.c.updated_ms == seen_ms
    connection.execute(update(campaign_members).where(where).values(**values))


def take(connection: Connection, campaign_id: int, station_id: str) -> Member | None:
    """Claim a waiting member exclusively; None: it is not waiting."""
    waiting = (
        (campaign_members.c.campaign_id == campaign_id)
        & (campaign_members.c.station_id == station_id)
        & (campaign_members.c.state == "Waiting")
    )
    taken = update(campaign_members).where(waiting).values(state="Working").returning(campaign_members)
    row = connection.execute(taken).first()
    return _member(row) if row else None


def take_from_schedule(connection: Connection, campaign_id: int, station_id: str) -> None:
    """Let a member wait again that has scheduled its update: that is no attempt."""
    scheduled = (
        (campaign_members.c.campaign_id == campaign_id)
        & (campaign_members.c.station_id == station_id)
        & (campaign_members.c.state == "Working")
        & campaign_members.c.status.in_(SCHEDULED)
    )
    attempts = campaign_members.c.attempts - 1
    connection.execute(update(campaign_members).where(scheduled).values(state="Waiting", attempts=attempts))


def busy_elsewhere(connection: Connection, campaign_id: int) -> set[str]:
    """Return the stations that another campaign updates now."""
    other = (campaign_members.c.campaign_id != campaign_id) & (campaign_members.c.state == "Working")
    return set(connection.execute(select(campaign_members.c.station_id).where(other)).scalars())


def change_waiting(connection: Connection, campaign_id: int, station_id: str, values: Mapping[str, object]) -> bool:
    """Change columns of a member that waits for the new image; return whether there is one."""
    waiting = (
        (campaign_members.c.campaign_id == campaign_id)
        & (campaign_members.c.station_id == station_id)
        & (campaign_members.c.state == "Waiting")
        & campaign_members.c.back.is_(False)
    )
    return connection.execute(update(campaign_members).where(waiting).values(**values)).rowcount == 1


_MANY: Final = 500


def health(connection: Connection, since_ms: Mapping[str, int]) -> dict[str, StationHealth]:
    """Return what stations have reported since a time of each (UTC ms): boots, and how sessions ended.

    Sessions have failed when more ended by a fault than otherwise.
    """
    found: dict[str, StationHealth] = {}
    names = sorted(since_ms)
    for first in range(0, len(names), _MANY):
        some = names[first : first + _MANY]
        ended: dict[str, int] = {}
        sessions = select(transactions.c.station_id, transactions.c.started_ms, transactions.c.document).where(
            transactions.c.station_id.in_(some)
            & (transactions.c.started_ms >= min(since_ms[each] for each in some))
            & transactions.c.active.is_(False)
        )
        for row in connection.execute(sessions):
            if row.started_ms >= since_ms[row.station_id]:
                stopped = typed_json.decode(row.document, _Stopped).stopped_reason
                failed = stopped is not None and stopped.value in FAILED_SESSION
                ended[row.station_id] = ended.get(row.station_id, 0) + (1 if failed else -1)
        for row in connection.execute(select(stations).where(stations.c.station_id.in_(some))):
            crashed = (row.booted_ms or 0) > since_ms[row.station_id] and row.boot_reason not in REQUESTED_BOOTS
            found[row.station_id] = StationHealth(crashed, ended.get(row.station_id, 0) > 0, row.last_seen_ms)
    return found


def last_seen(connection: Connection, station_ids: Collection[str]) -> dict[str, int]:
    """Return when stations last sent a message (UTC ms); those that never did are left out."""
    found: dict[str, int] = {}
    names = sorted(station_ids)
    for first in range(0, len(names), _MANY):
        chosen = stations.c.station_id.in_(names[first : first + _MANY])
        query = select(stations.c.station_id, stations.c.last_seen_ms).where(chosen)
        found |= {name: seen_ms for name, seen_ms in connection.execute(query) if seen_ms}
    return found


class _Stopped(msgspec.Struct):
    stopped_reason: Dated | None = None


def find(connection: Connection, campaign_id: int) -> Campaign | None:
    """Return a campaign, or None."""
    row = connection.execute(select(campaigns).where(campaigns.c.campaign_id == campaign_id)).first()
    return _campaign(row) if row else None


def list_campaigns(
    connection: Connection, state: CampaignState | None = None, only: frozenset[str] | None = None
) -> list[Campaign]:
    """Return campaigns, the newest first; `only`: those with one of these stations."""
    query = select(campaigns).order_by(campaigns.c.campaign_id.desc())
    if state is not None:
        query = query.where(campaigns.c.state == state)
    if only is not None:
        its = select(campaign_members.c.campaign_id).where(campaign_members.c.station_id.in_(only))
        query = query.where(campaigns.c.campaign_id.in_(its))
    return [_campaign(row) for row in connection.execute(query)]


def unsettled(connection: Connection) -> list[Campaign]:
    """Return the campaigns that have something to do, the newest first: active and paused ones, and those with stations
    which were offline when they finished or halted."""
    member = campaign_members.c
    open_ = member.state.in_(("Waiting", "Working", "Watched"))
    late = (member.state == "Failed") & (member.installed_ms > 0) & (member.trouble != "") & member.back.is_(False)
    news = (member.updated_ms > campaigns.c.updated_ms) | late
    mine = select(member.campaign_id).where(member.campaign_id == campaigns.c.campaign_id)
    query = select(campaigns).where(
        campaigns.c.state.in_((*ACTIVE, "Paused"))
        | ((campaigns.c.state == "Finished") & mine.where(open_ | news).exists())
        | ((campaigns.c.state == "Halted") & mine.where((open_ & member.back) | news).exists())
    )
    return [_campaign(row) for row in connection.execute(query.order_by(campaigns.c.campaign_id.desc()))]


def members(connection: Connection, campaign_id: int) -> list[Member]:
    """Return the stations of a campaign, by cohort."""
    query = (
        select(campaign_members)
        .where(campaign_members.c.campaign_id == campaign_id)
        .order_by(campaign_members.c.cohort, campaign_members.c.station_id)
    )
    return [_member(row) for row in connection.execute(query)]


def find_attempt(connection: Connection, station_id: str, request_id: int) -> tuple[Campaign, Member] | None:
    """Return the campaign and member whose attempt has this request number, or None."""
    where = (campaign_members.c.request_id == request_id) & (campaign_members.c.station_id == station_id)
    row = connection.execute(select(campaign_members).where(where)).first()
    if row is None:
        return None
    campaign = find(connection, row.campaign_id)
    assert campaign is not None
    return campaign, _member(row)


def _campaign(row: Any) -> Campaign:
    values = dict(row._mapping)
    plan = typed_json.decode(values.pop("document"), CampaignPlan)
    return Campaign(plan=plan, **values)


def _member(row: Any) -> Member:
    values = dict(row._mapping)
    del values["campaign_id"]
    return Member(**values)
