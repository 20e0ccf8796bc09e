"""Whether a session is booked: every kind of lie is found by what the back end knows, and no honest session is kept."""

import functools
import time
from typing import Any

import pytest
from msgspec.structs import replace

from csms.domain.billing.booking import (
    Certificates,
    Evidence,
    Finding,
    Judgement,
    Reading,
    Rules,
    SeenTransaction,
    SentSignal,
    judge,
    tariff_digest,
)
from pki_tools.tree import PkiTree
from tests.csms.settlement.lies import EMAID, EVSE_ID, LIES, Lie, Story, session_of, signal_at, told
from v2g.energy.settlement.settle import settle
from v2g.errors import VerificationError

BEGIN_MS = int(time.time() * 1000) // 900_000 * 900_000 + 120_000
SENT_MS = BEGIN_MS - 3_600_000
TRUSTED = {"DEV2GC00000001", "DEV2GC00000002", "DEV2GC09999999"}


@functools.cache
def honest_of(pki: PkiTree) -> Story:
    return told(session_of(pki, BEGIN_MS))


@pytest.fixture
def honest(pki: PkiTree) -> Story:
    """What an honest station delivers of a session."""
    return honest_of(pki)


def transaction(story: Story, **changes: Any) -> SeenTransaction:
    """Return the transaction that a station reported."""
    token, kind = story.token or ("", "")
    readings = tuple(
        Reading(each.utc_ms, each.import_mwh, each.export_mwh if story.exports else None) for each in story.readings
    )
    found = SeenTransaction(
        transaction_id="tx-1",
        started_ms=readings[0].at_ms,
        ended_ms=readings[-1].at_ms if story.ended else None,
        over=story.ended,
        evse_id=story.evse_name,
        id_token=token,
        token_type=kind,
        answer="Unknown" if token == "DEV2GC09999999" else "Accepted" if token else "",
        readings=readings,
    )
    return replace(found, **changes)


def evidence(story: Story, *transactions: SeenTransaction, **changes: Any) -> Evidence:
    """Return what a back end knows when a station has reported this, or these transactions."""
    digest = tariff_digest(signal_at(BEGIN_MS).tariff())
    issued = told_by(story.contract)
    found = Evidence(
        transactions=transactions or ((transaction(story),) if story.reported else ()),
        signals={digest: SentSignal(SENT_MS, 11_000)},
        most_export_w=11_000,
        certificates=Certificates(story.charger[0], story.contract[0], issued) if story.certified else None,
        booked={},
    )
    return replace(found, **changes)


def told_by(chain: tuple[bytes, ...]) -> str:
    """Return the contract of a chain that leads to a trusted root: the charger's does not."""
    return EMAID if len(chain) > 1 and EMAID.encode() in chain[0] else ""


def judged(story: Story, known: Evidence, rules: Rules = Rules()) -> Judgement:  # noqa: B008 - immutable
    return judge(story.entries, settle(story.entries), known, rules)


def found(story: Story, known: Evidence, rules: Rules = Rules()) -> Finding:  # noqa: B008 - immutable
    finding = judged(story, known, rules).finding
    assert finding is not None
    return finding


def test_an_honest_session_is_booked_with_its_transaction(honest: Story) -> None:
    assert judged(honest, evidence(honest)) == Judgement("tx-1", None)


@pytest.mark.parametrize(
    "lie", [each for each in LIES if each.reason != "journal"], ids=lambda lie: lie.name.replace(" ", "-")
)
def test_every_lie_is_found(honest: Story, pki: PkiTree, lie: Lie) -> None:
    story = lie.story(honest, pki, BEGIN_MS)
    changes: dict[str, Any] = {}
    known = evidence(story)
    if lie.options:
        changes["transactions"] = (transaction(story, answer="Blocked"),)
    if story.late_signal_ms:
        changes["signals"] = {next(iter(known.signals)): SentSignal(BEGIN_MS + 60_001, 11_000)}
    if lie.name == "a transaction of two hours before":
        changes["transactions"] = ()  # it is too old to be looked at
    assert found(story, replace(known, **changes)).reason == lie.reason


@pytest.mark.parametrize("lie", [each for each in LIES if each.reason == "journal"], ids=lambda lie: lie.name)
def test_a_journal_that_contradicts_itself_is_not_settled(honest: Story, pki: PkiTree, lie: Lie) -> None:
    with pytest.raises(VerificationError):
        settle(lie.story(honest, pki, BEGIN_MS).entries)


def test_a_minute_before_and_after_the_transaction_is_in_time(honest: Story) -> None:
    first, last = honest.readings[0].utc_ms, honest.readings[-1].utc_ms
    for changes, reason in (
        ({"started_ms": first + 60_000}, None),
        ({"started_ms": first + 60_001}, "times"),
        ({"ended_ms": last - 60_000}, None),
        ({"ended_ms": last - 60_001}, "times"),
        ({"ended_ms": None}, None),
    ):
        finding = judged(honest, evidence(honest, transaction(honest, **changes))).finding
        assert (finding and finding.reason) == reason


@pytest.mark.parametrize(("by", "fits"), [(10_000, True), (-10_000, True), (10_001, False), (-10_001, False)])
@pytest.mark.parametrize("place", [0, 3, -1])
def test_a_meter_value_may_differ_by_ten_watt_hours(honest: Story, by: int, fits: bool, place: int) -> None:
    """Within the session also by what flowed in two seconds."""
    seen = transaction(honest)
    readings = list(seen.readings[:-1])  # the last two are of one moment
    changed = readings[place]
    assert changed.export_mwh is not None
    readings[place] = replace(changed, export_mwh=changed.export_mwh + by)
    finding = judged(honest, evidence(honest, replace(seen, readings=tuple(readings)))).finding
    assert (finding is None) is fits
    if finding is not None:
        assert (finding.reason, finding.missing) == ("registers", False)


def test_a_rollover_shifts_all_meter_values_alike(honest: Story) -> None:
    seen = transaction(honest)
    shifted = tuple(
        Reading(each.at_ms, (each.import_mwh or 0) + 1_000_000_000, each.export_mwh) for each in seen.readings
    )
    assert found(honest, evidence(honest, replace(seen, readings=shifted))).reason == "registers"


def test_what_is_missing_is_waited_for_until_the_transaction_is_over(honest: Story) -> None:
    none = transaction(honest, readings=())
    part = transaction(honest, readings=transaction(honest).readings[:-2], ended_ms=None)
    for seen, missing in ((none, False), (replace(none, over=False), True), (replace(part, over=False), True)):
        finding = found(honest, evidence(honest, seen))
        assert (finding.reason, finding.missing) == ("registers", missing)
    unasked = transaction(honest, answer="")
    assert not found(honest, evidence(honest, unasked)).missing
    assert found(honest, evidence(honest, replace(unasked, over=False))).missing
    nothing = found(honest, evidence(honest, transactions=()))
    assert (nothing.reason, nothing.missing) == ("transaction", True)
    uncertified = found(honest, evidence(honest, certificates=None))
    assert (uncertified.reason, uncertified.missing) == ("certificates", True)


def test_what_is_wrong_is_said_before_what_is_missing(honest: Story) -> None:
    known = evidence(honest, transactions=(), signals={})
    assert found(honest, known).reason == "prices"
    assert found(honest, evidence(honest, transactions=(), certificates=None)).reason == "transaction"


def test_of_several_transactions_the_one_that_fits_counts(honest: Story) -> None:
    other = transaction(honest, transaction_id="tx-0", id_token="DEV2GC00000002")
    mine = transaction(honest)
    for order in ((other, mine), (mine, other)):
        assert judged(honest, evidence(honest, *order)) == Judgement("tx-1", None)
    elsewhere = replace(other, transaction_id="tx-2", evse_id="DE*V2G*E9")
    best = judged(honest, evidence(honest, elsewhere, other))
    assert (best.transaction_id, best.finding and best.finding.reason) == ("tx-0", "token")


def test_sessions_of_one_transaction_may_touch_but_not_overlap(honest: Story) -> None:
    first, last = honest.readings[0].utc_ms, honest.readings[-1].utc_ms
    for span, repeated in (
        ((first - 5, first), False), ((last, last + 5), False), ((first - 5, first + 1), True),
        ((last - 1, last + 5), True), ((first, last), True),
    ):  # fmt: skip
        finding = judged(honest, evidence(honest, booked={"tx-1": (span,)})).finding
        assert (finding and finding.reason) == ("repeated" if repeated else None)
    assert judged(honest, evidence(honest, booked={"tx-9": ((first, last),)})).finding is None


def test_limits_are_those_of_the_time_and_signals_may_come_a_minute_late(honest: Story) -> None:
    (digest,) = evidence(honest).signals
    assert judged(honest, evidence(honest, most_export_w=None)).finding is None
    assert found(honest, evidence(honest, most_export_w=10_999)).reason == "limits"
    late = {digest: SentSignal(BEGIN_MS + 60_000, 11_000)}
    assert judged(honest, evidence(honest, signals=late)).finding is None


def test_an_operator_may_agree_to_feed_in_without_commands_and_to_a_price_of_wear(pki: PkiTree, honest: Story) -> None:
    lie = {each.name: each for each in LIES}
    for name in ("feed-in by the plain standard", "feed-in without a command"):
        story = lie[name].story(honest, pki, BEGIN_MS)
        assert judged(story, evidence(story), Rules(unsigned_feed_in=True)).finding is None
    story = lie["a price of wear"].story(honest, pki, BEGIN_MS)
    assert judged(story, evidence(story), Rules(wear=1_000_000)).finding is None
    assert found(story, evidence(story), Rules(wear=999_999)).reason == "wear"


def test_the_evse_is_compared_where_the_station_names_it(honest: Story) -> None:
    assert judged(honest, evidence(honest, transaction(honest, evse_id=EVSE_ID))).finding is None
    assert found(honest, evidence(honest, transaction(honest, evse_id="X"))).reason == "evse"
