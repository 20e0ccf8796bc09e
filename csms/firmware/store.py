"""Firmware campaigns and the progress of each of their stations."""

from collections.abc import Collection, Mapping
from typing import Final

import msgspec
import sqlalchemy as sa

from csms.db.base import AnyRow, declare_table, row_id
from csms.firmware import rules
from csms.requests.store import station_requests
from csms.stations.tables import stations
from csms.transactions.rules import Dated
from csms.transactions.tables import transactions
from v2g import typed_json

campaigns: Final = declare_table(
    "campaigns",
    sa.Column("campaign_id", row_id, primary_key=True),
    sa.Column("name", sa.String(100), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("reason", sa.Text, nullable=False, default="", server_default=""),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("updated_ms", sa.BigInteger, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
    sa.Index(None, "state"),
)

campaign_members: Final = declare_table(
    "campaign_members",
    sa.Column("campaign_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("station_id", sa.String(48), primary_key=True),
    sa.Column("cohort", sa.Integer, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("status", sa.String(40), nullable=False, default="", server_default=""),
    sa.Column("request_id", sa.BigInteger),
    sa.Column("not_before_ms", sa.BigInteger, nullable=False),
    sa.Column("updated_ms", sa.BigInteger, nullable=False),
    sa.Column("begun_ms", sa.BigInteger, nullable=False, default=0, server_default="0"),
    sa.Column("installed_ms", sa.BigInteger, nullable=False, default=0, server_default="0"),
    sa.Column("forced", sa.Boolean, nullable=False, default=False, server_default=sa.false()),
    sa.Column("back", sa.Boolean, nullable=False, default=False, server_default=sa.false()),
    sa.Column("trouble", sa.String(40), nullable=False, default="", server_default=""),
    sa.Column("since_ms", sa.BigInteger, nullable=False, default=0, server_default="0"),
    sa.Column("spent_ms", sa.BigInteger, nullable=False, default=0, server_default="0"),
    sa.ForeignKeyConstraint(["campaign_id"], ["campaigns.campaign_id"]),
    sa.Index(None, "request_id"),
)


class Campaign(msgspec.Struct, frozen=True, kw_only=True):
    """A stored campaign; `reason` says why it halted or ended."""

    campaign_id: int
    name: str
    state: rules.CampaignState
    reason: str
    created_ms: int
    updated_ms: int
    plan: rules.CampaignPlan


def create(connection: sa.Connection, name: str, plan: rules.CampaignPlan, now_ms: int) -> int:
    """Store a campaign without members; return its number."""
    inserted = connection.execute(
        sa.insert(campaigns).values(
            name=name, state="Running", created_ms=now_ms, updated_ms=now_ms,
            document=msgspec.json.encode(plan).decode(),
        )
    ).inserted_primary_key  # fmt: skip
    assert inserted is not None
    return int(inserted[0])


def add_members(connection: sa.Connection, campaign_id: int, members: list[rules.Member]) -> None:
    """Add the stations of a new campaign."""
    rows = [{"campaign_id": campaign_id, **msgspec.structs.asdict(member)} for member in members]
    if rows:
        connection.execute(sa.insert(campaign_members), rows)


def save_state(
    connection: sa.Connection,
    campaign_id: int,
    state: rules.CampaignState,
    reason: str,
    now_ms: int,
    *,
    before: rules.CampaignState,
) -> bool:
    """Store the state of a campaign if `before` is its present one; return whether it was."""
    where = (campaigns.c.campaign_id == campaign_id) & (campaigns.c.state == before)
    changed = sa.update(campaigns).where(where).values(state=state, reason=reason, updated_ms=now_ms)
    return connection.execute(changed).rowcount == 1


def save_member(connection: sa.Connection, campaign_id: int, member: rules.Member, seen_ms: int | None = None) -> None:
    """Store the progress of a station; with `seen_ms` only if nothing was stored since."""
    values = msgspec.structs.asdict(member)
    where = (campaign_members.c.campaign_id == campaign_id) & (
        campaign_members.c.station_id == values.pop("station_id")
    )
    if seen_ms is not None:
        where &= campaign_members.c.updated_ms == seen_ms
    connection.execute(sa.update(campaign_members).where(where).values(**values))


def take(connection: sa.Connection, campaign_id: int, station_id: str) -> rules.Member | None:
    """Claim a waiting member exclusively; None: it is not waiting."""
    waiting = (
        (campaign_members.c.campaign_id == campaign_id)
        & (campaign_members.c.station_id == station_id)
        & (campaign_members.c.state == "Waiting")
    )
    taken = sa.update(campaign_members).where(waiting).values(state="Working").returning(campaign_members)
    row = connection.execute(taken).first()
    return _member(row) if row else None


def take_from_schedule(connection: sa.Connection, campaign_id: int, station_id: str) -> None:
    """Let a member wait again that has scheduled its update: that is no attempt."""
    scheduled = (
        (campaign_members.c.campaign_id == campaign_id)
        & (campaign_members.c.station_id == station_id)
        & (campaign_members.c.state == "Working")
        & campaign_members.c.status.in_(rules.SCHEDULED)
    )
    attempts = campaign_members.c.attempts - 1
    connection.execute(sa.update(campaign_members).where(scheduled).values(state="Waiting", attempts=attempts))


def busy_elsewhere(connection: sa.Connection, campaign_id: int) -> set[str]:
    """Return the stations that another campaign updates now."""
    other = (campaign_members.c.campaign_id != campaign_id) & (campaign_members.c.state == "Working")
    return set(connection.execute(sa.select(campaign_members.c.station_id).where(other)).scalars())


def updated_later(connection: sa.Connection, campaign_id: int) -> set[str]:
    """Return the stations that have the image of a later campaign."""
    later = (campaign_members.c.campaign_id > campaign_id) & (campaign_members.c.installed_ms > 0)
    return set(connection.execute(sa.select(campaign_members.c.station_id).where(later)).scalars())


def change_waiting(connection: sa.Connection, campaign_id: int, station_id: str, values: Mapping[str, object]) -> bool:
    """Change columns of a member that waits for the new image; return whether there is one."""
    waiting = (
        (campaign_members.c.campaign_id == campaign_id)
        & (campaign_members.c.station_id == station_id)
        & (campaign_members.c.state == "Waiting")
        & campaign_members.c.back.is_(False)
    )
    return connection.execute(sa.update(campaign_members).where(waiting).values(**values)).rowcount == 1


_MANY: Final = 500


def health(connection: sa.Connection, since_ms: Mapping[str, int]) -> dict[str, rules.StationHealth]:
    """Return what stations have reported since a time of each (UTC ms): boots, and how sessions ended.

    Sessions have failed when more ended by a fault than otherwise.
    """
    found: dict[str, rules.StationHealth] = {}
    names = sorted(since_ms)
    for first in range(0, len(names), _MANY):
        some = names[first : first + _MANY]
        ended: dict[str, int] = {}
        sessions = sa.select(transactions.c.station_id, transactions.c.started_ms, transactions.c.document).where(
            transactions.c.station_id.in_(some)
            & (transactions.c.started_ms >= min(since_ms[each] for each in some))
            & transactions.c.active.is_(False)
        )
        for row in connection.execute(sessions):
            if row.started_ms >= since_ms[row.station_id]:
                stopped = typed_json.decode(row.document, _Stopped).stopped_reason
                failed = stopped is not None and stopped.value in rules.FAILED_SESSION
                ended[row.station_id] = ended.get(row.station_id, 0) + (1 if failed else -1)
        for row in connection.execute(sa.select(stations).where(stations.c.station_id.in_(some))):
            crashed = (row.booted_ms or 0) > since_ms[row.station_id] and row.boot_reason not in rules.NO_CRASH
            found[row.station_id] = rules.StationHealth(crashed, ended.get(row.station_id, 0) > 0, row.last_seen_ms)
    return found


def last_seen(connection: sa.Connection, station_ids: Collection[str]) -> dict[str, int]:
    """Return when stations last sent a message (UTC ms); those that never did are left out."""
    found: dict[str, int] = {}
    names = sorted(station_ids)
    for first in range(0, len(names), _MANY):
        chosen = stations.c.station_id.in_(names[first : first + _MANY])
        query = sa.select(stations.c.station_id, stations.c.last_seen_ms).where(chosen)
        found |= {name: seen_ms for name, seen_ms in connection.execute(query) if seen_ms}
    return found


class _Stopped(msgspec.Struct):
    stopped_reason: Dated | None = None


def find(connection: sa.Connection, campaign_id: int) -> Campaign | None:
    row = connection.execute(sa.select(campaigns).where(campaigns.c.campaign_id == campaign_id)).first()
    return _campaign(row) if row else None


def list_campaigns(
    connection: sa.Connection, state: rules.CampaignState | None = None, only: frozenset[str] | None = None
) -> list[Campaign]:
    """Return campaigns, the newest first; `only`: those with one of these stations."""
    query = sa.select(campaigns).order_by(campaigns.c.campaign_id.desc())
    if state is not None:
        query = query.where(campaigns.c.state == state)
    if only is not None:
        its = sa.select(campaign_members.c.campaign_id).where(campaign_members.c.station_id.in_(only))
        query = query.where(campaigns.c.campaign_id.in_(its))
    return [_campaign(row) for row in connection.execute(query)]


def unsettled(connection: sa.Connection) -> list[Campaign]:
    """Return the campaigns that have something to do, the newest first: active and paused ones, and those with stations
    which were offline when they finished or halted."""
    member = campaign_members.c
    open_ = member.state.in_(("Waiting", "Working", "Watched"))
    late = (member.state == "Failed") & (member.installed_ms > 0) & (member.trouble != "") & member.back.is_(False)
    news = (member.updated_ms > campaigns.c.updated_ms) | late
    mine = sa.select(member.campaign_id).where(member.campaign_id == campaigns.c.campaign_id)
    query = sa.select(campaigns).where(
        campaigns.c.state.in_((*rules.ACTIVE, "Paused"))
        | ((campaigns.c.state == "Finished") & mine.where(open_ | news).exists())
        | ((campaigns.c.state == "Halted") & mine.where((open_ & member.back) | news).exists())
    )
    return [_campaign(row) for row in connection.execute(query.order_by(campaigns.c.campaign_id.desc()))]


def members(connection: sa.Connection, campaign_id: int) -> list[rules.Member]:
    """Return the stations of a campaign, by cohort."""
    query = (
        sa.select(campaign_members)
        .where(campaign_members.c.campaign_id == campaign_id)
        .order_by(campaign_members.c.cohort, campaign_members.c.station_id)
    )
    return [_member(row) for row in connection.execute(query)]


def find_attempt(connection: sa.Connection, station_id: str, request_id: int) -> tuple[Campaign, rules.Member] | None:
    """Return the campaign and member whose attempt has this request number, or None."""
    where = (campaign_members.c.request_id == request_id) & (campaign_members.c.station_id == station_id)
    row = connection.execute(sa.select(campaign_members).where(where)).first()
    if row is None:
        return None
    campaign = find(connection, row.campaign_id)
    assert campaign is not None
    return campaign, _member(row)


def find_earlier_attempt(
    connection: sa.Connection, station_id: str, request_id: int
) -> tuple[Campaign, rules.Member] | None:
    """Return the campaign and member that has made an attempt with this request number, and others since; or None."""
    column, member = station_requests.c, campaign_members.c
    here = (column.request_id == request_id) & (column.station_id == station_id) & (column.action == "UpdateFirmware")
    sent = connection.execute(sa.select(column.created_ms, column.document).where(here)).first()
    if sent is None:
        return None
    location = typed_json.decode(sent.document, _Update).firmware.location
    begun = (member.station_id == station_id) & member.begun_ms.between(1, sent.created_ms)
    for row in connection.execute(sa.select(campaign_members).where(begun).order_by(member.campaign_id.desc())):
        campaign = find(connection, row.campaign_id)
        assert campaign is not None
        image = campaign.plan.rollback if row.back else campaign.plan.image
        if image is not None and image.location == location:
            return campaign, _member(row)
    return None


class _Firmware(msgspec.Struct):
    location: str


class _Update(msgspec.Struct):
    firmware: _Firmware


def _campaign(row: AnyRow) -> Campaign:
    values = dict(row._mapping)
    plan = typed_json.decode(values.pop("document"), rules.CampaignPlan)
    return Campaign(plan=plan, **values)


def _member(row: AnyRow) -> rules.Member:
    values = dict(row._mapping)
    del values["campaign_id"]
    return rules.Member(**values)
