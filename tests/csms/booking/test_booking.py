"""Whether a session is booked: every kind of lie is found by what the back end knows, and no honest session is kept."""

import dataclasses
import functools
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from csms.booking.plausibility import RatedPower
from csms.booking.rules import (
    BookingJudgement,
    Certificates,
    Evidence,
    Finding,
    PriceDelivery,
    Reading,
    Rules,
    SeenTransaction,
    judge,
)
from csms.contracts.rules import charger_fault
from csms.prequalifications.rules import Prequalification
from csms.station_security.rules import Charger
from csms.trust.rules import Anchors
from pki_tools.tree import PkiTree
from tests.csms.settlement.lies import (
    EMAID,
    EVSE_ID,
    LIES,
    STATION,
    Lie,
    LyingSession,
    Story,
    delivered,
    records,
    rewritten,
    session_of,
    signal_at,
)
from tests.csms.support import utc
from tests.together import together
from v2g.energy.settlement.journal import verify_lines
from v2g.energy.settlement.operator import tariff_digest
from v2g.energy.settlement.records import (
    AnyRecord,
    AuthorizationSigned,
    CommandAccepted,
    ContractAuthorized,
    LimitChanged,
    MeterReading,
    MeterStatus,
    ServiceChanged,
    SessionStarted,
    TariffSet,
    TermsOffered,
    WearPriced,
)
from v2g.energy.settlement.session_journal import SessionJournal, readings_of
from v2g.energy.settlement.settle import settle
from v2g.errors import VerificationError
from v2g.pki.credentials import load_chain

BEGIN_MS = int(time.time() * 1000) // 900_000 * 900_000 + 120_000
SENT_MS = BEGIN_MS - 3_600_000


@functools.cache
def honest_of(pki: PkiTree) -> Story:
    return delivered(session_of(pki, BEGIN_MS))


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
        evse=1,
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
        station_id=STATION,
        transactions=transactions or ((transaction(story),) if story.reported else ()),
        deliveries={digest: (PriceDelivery(SENT_MS, None),)},
        most_export_w=11_000,
        prequalifications=(),
        certificates=Certificates(story.charger[0], story.contract[0], issued) if story.certified else None,
        charger=Charger("CN=1", "", "") if story.certified else None,
        booked={},
    )
    return replace(found, **changes)


def told_by(chain: tuple[bytes, ...]) -> str:
    """Return the contract of a chain that leads to a trusted root: the charger's does not."""
    return EMAID if len(chain) > 1 and EMAID.encode() in chain[0] else ""


def judged(story: Story, known: Evidence, rules: Rules = Rules()) -> BookingJudgement:  # noqa: B008 - immutable
    return judge(story.entries, settle(story.entries), known, rules)


def found(story: Story, known: Evidence, rules: Rules = Rules()) -> Finding:  # noqa: B008 - immutable
    finding = judged(story, known, rules).finding
    assert finding is not None
    return finding


def place_of(story: Story, kind: type[AnyRecord]) -> int:
    """Return the number of the first entry of a kind, from 1."""
    return next(number for number, each in enumerate(story.entries, 1) if isinstance(each.data, kind))


def test_an_honest_session_is_booked_with_its_transaction(honest: Story) -> None:
    assert judged(honest, evidence(honest)) == BookingJudgement("tx-1", None)


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
        changes["deliveries"] = {next(iter(known.deliveries)): (PriceDelivery(BEGIN_MS + 60_001, None),)}
    if lie.name == "a charger that is none":
        assert known.certificates is not None
        fault = charger_fault(story.charger, Anchors(roots=load_chain(pki.path("v2g/root.pem"))), datetime.now(UTC))
        changes["certificates"] = replace(known.certificates, charger_fault=fault)
    if story.superseded:
        changes["deliveries"] = {next(iter(known.deliveries)): (PriceDelivery(SENT_MS, BEGIN_MS - 60_001),)}
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
    for ended_ms in (None, last):
        exact = evidence(honest, transaction(honest, ended_ms=ended_ms))
        assert judged(honest, exact, Rules(margin_ms=0)).finding is None


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
    unaccepted = found(honest, evidence(honest, unasked))
    assert (unaccepted.reason, unaccepted.missing) == ("authorization", False)
    assert found(honest, evidence(honest, replace(unasked, over=False))).missing
    nothing = judged(honest, evidence(honest, transactions=()))
    assert nothing.transaction_id == ""
    assert nothing.finding is not None
    assert (nothing.finding.reason, nothing.finding.missing) == ("transaction", True)
    uncertified = found(honest, evidence(honest, certificates=None))
    assert (uncertified.reason, uncertified.missing) == ("certificates", True)


@pytest.mark.parametrize(
    ("whose", "known", "fault"),
    [
        ("", "", None),
        (STATION, "", None),
        (STATION, "CN=2", None),
        ("CS-2", "", "charger CN=1 is station CS-2's"),
        ("CS-2", "CN=2", "charger CN=1 is station CS-2's"),
        ("", "CN=2", "charger CN=1 is new, the station is known by CN=2"),
    ],
)
def test_signed_discharge_is_of_the_charger_that_the_station_is_known_by(
    honest: Story, pki: PkiTree, whose: str, known: str, fault: str | None
) -> None:
    """It is said last: what an operator releases has no other fault."""
    charger = Charger("CN=1", whose, known)
    finding = judged(honest, evidence(honest, charger=charger)).finding
    assert finding == (None if fault is None else Finding("charger", fault))
    plain = delivered(session_of(pki, BEGIN_MS, discharge="none", feeds_back=False))
    assert judged(plain, evidence(plain, charger=charger)).finding is None
    lie = next(each for each in LIES if each.name == "more energy than commands allowed")
    beyond = lie.story(honest, pki, BEGIN_MS)
    assert found(beyond, evidence(beyond, charger=charger)).reason == "signatures"


def test_an_offer_has_prices_and_currency_of_the_tariff_before_it(honest: Story, pki: PkiTree) -> None:
    dollars = replace(signal_at(BEGIN_MS).tariff(), currency="USD")
    other = delivered(session_of(pki, BEGIN_MS, secret=dollars))
    bare = rewritten(honest, (each for each in records(honest) if not isinstance(each[0], TariffSet)))
    for story in (other, bare):
        finding = found(story, evidence(story))
        place = place_of(story, TermsOffered)
        assert finding == Finding("terms", f"entry {place} offers other prices than those in force")


@pytest.mark.parametrize(("apart_ms", "fits"), [(0, True), (120_000, True), (120_001, False)])
def test_prices_that_were_sent_again_do_not_count_for_the_time_between(
    honest: Story, apart_ms: int, fits: bool
) -> None:
    """The station had accepted others then, and may not leave them out; a minute on both sides is slack."""
    digest = tariff_digest(signal_at(BEGIN_MS).tariff())
    ended_ms = honest.readings[0].utc_ms + 10_000
    sent = (PriceDelivery(SENT_MS, ended_ms), PriceDelivery(ended_ms + apart_ms, None))
    finding = judged(honest, evidence(honest, deliveries={digest: sent})).finding
    assert (None if finding is None else finding.reason) == (None if fits else "superseded")


def test_prices_that_were_sent_while_they_were_in_force_end_nothing(honest: Story) -> None:
    digest = tariff_digest(signal_at(BEGIN_MS).tariff())
    ended_ms = honest.readings[0].utc_ms + 10_000
    again = PriceDelivery(SENT_MS + 1, SENT_MS + 2)
    sent = (PriceDelivery(SENT_MS, ended_ms), again, PriceDelivery(ended_ms + 120_000, None))
    assert judged(honest, evidence(honest, deliveries={digest: sent})).finding is None


def test_what_is_wrong_is_said_before_what_is_missing(honest: Story) -> None:
    known = evidence(honest, transactions=(), deliveries={})
    assert found(honest, known).reason == "prices"
    assert found(honest, evidence(honest, transactions=(), certificates=None)).reason == "transaction"


def test_of_several_transactions_the_one_that_fits_counts(honest: Story) -> None:
    other = transaction(honest, transaction_id="tx-0", id_token="DEV2GC00000002")
    mine = transaction(honest)
    for order in ((other, mine), (mine, other)):
        assert judged(honest, evidence(honest, *order)) == BookingJudgement("tx-1", None)
    elsewhere = replace(other, transaction_id="tx-2", evse_id="DE*V2G*E9")
    best = judged(honest, evidence(honest, elsewhere, other))
    assert (best.transaction_id, best.finding and best.finding.reason) == ("tx-0", "token")
    first = judged(honest, evidence(honest, replace(other, transaction_id="tx-4"), other))  # the one that began last
    assert first.transaction_id == "tx-4"


def test_a_session_with_a_contract_is_not_of_a_transaction_without(honest: Story) -> None:
    for changes in ({"id_token": "", "token_type": ""}, {"token_type": "ISO14443"}):
        finding = found(honest, evidence(honest, transaction(honest, **changes)))
        assert finding.detail == f"contract {EMAID}, the transaction was paid by no contract"


def test_a_session_without_a_contract_is_not_of_a_transaction_that_one_paid(pki: PkiTree) -> None:
    charged = delivered(session_of(pki, BEGIN_MS, discharge="none", feeds_back=False))
    said = ((record, at_ms) for record, at_ms in records(charged)
            if not isinstance(record, ContractAuthorized | AuthorizationSigned))  # fmt: skip
    story = rewritten(charged, said)
    for name, missing in ((EVSE_ID, False), ("", True)):  # it may be of another EVSE: its own comes yet
        paid = transaction(charged, evse_id=name)
        assert found(story, evidence(charged, paid)) == Finding(
            "contract", f"it names no contract, the transaction was paid by {EMAID}", missing=missing
        )
    plain = transaction(charged, id_token="CA4D", token_type="ISO14443")
    assert judged(story, evidence(charged, plain)).transaction_id == "tx-1"


def test_an_operator_may_agree_to_contracts_for_which_no_vehicle_signed(pki: PkiTree, honest: Story) -> None:
    older = {each.name: each for each in LIES}["no authorisation, as an earlier version"].story(honest, pki, BEGIN_MS)
    assert found(older, evidence(older)).reason == "unsigned"
    assert judged(older, evidence(older), Rules(unsigned_contracts=True)).finding is None


def test_an_authorisation_that_names_no_contract_is_not_booked(pki: PkiTree) -> None:
    charged = delivered(session_of(pki, BEGIN_MS, discharge="none", feeds_back=False))
    said = (each for each in records(charged) if not isinstance(each[0], ContractAuthorized))
    story = rewritten(charged, said)
    plain = transaction(charged, id_token="CA4D", token_type="ISO14443")
    for certificates in (None, evidence(charged).certificates):
        finding = found(story, evidence(charged, plain, certificates=certificates))
        assert (finding.reason, finding.missing) == ("signatures", False)
        assert "an authorisation was signed without a contract" in finding.detail


def test_of_two_transactions_that_fit_that_counts_in_which_no_other_session_was(honest: Story) -> None:
    """They may touch. Where there is no other, the ledger says what it contradicts."""
    first, last = honest.readings[0].utc_ms, honest.readings[-1].utc_ms
    for span, repeated in (
        ((first - 5, first), False), ((last, last + 5), False), ((first - 5, first + 1), True),
        ((last - 1, last + 5), True), ((first, last), True),
    ):  # fmt: skip
        twins = transaction(honest), transaction(honest, transaction_id="tx-2")
        found = judged(honest, evidence(honest, *twins, booked={"tx-1": (span,)}))
        assert (found.finding, found.transaction_id) == (None, "tx-2" if repeated else "tx-1")
    both = dict.fromkeys(("tx-1", "tx-2"), ((first, last),))
    assert judged(honest, evidence(honest, *twins, booked=both)).finding is None


def test_limits_are_those_of_the_time_and_signals_may_come_a_minute_late(honest: Story) -> None:
    (digest,) = evidence(honest).deliveries
    assert judged(honest, evidence(honest, most_export_w=None)).finding is None
    above = found(honest, evidence(honest, most_export_w=10_999))
    place = place_of(honest, LimitChanged)
    detail = f"entry {place} allows 11 kW out of the vehicle, 10.999 kW were sent"
    assert above == Finding("limits", detail)
    late = {digest: (PriceDelivery(BEGIN_MS + 60_000, None),)}
    assert judged(honest, evidence(honest, deliveries=late)).finding is None
    later = {digest: (PriceDelivery(BEGIN_MS + 60_001, None),)}
    detail = f"entry {place_of(honest, TariffSet)} has prices that were sent 1\u00a0min later"
    assert found(honest, evidence(honest, deliveries=later)) == Finding("prices", detail)
    twice = {digest: (*later[digest], PriceDelivery(BEGIN_MS + 600_000, None))}
    assert found(honest, evidence(honest, deliveries=twice)) == Finding("prices", detail)


def test_prices_count_until_a_minute_after_the_station_accepted_others(honest: Story) -> None:
    (digest,) = evidence(honest).deliveries
    number, end_ms = place_of(honest, TariffSet), honest.readings[-1].utc_ms
    for ends, superseded in (
        ((end_ms - 60_000,), False), ((end_ms - 60_001,), True), ((end_ms - 60_001, None), False),
        ((end_ms - 60_000, SENT_MS), False), ((SENT_MS, end_ms - 60_001), True),
    ):  # fmt: skip
        known = evidence(honest, deliveries={digest: tuple(PriceDelivery(SENT_MS, each) for each in ends)})
        accepted = f"the station has accepted others at {utc(end_ms - 60_001)}"
        detail = f"entry {number} has prices until {utc(end_ms)}, {accepted}"
        assert judged(honest, known).finding == (Finding("superseded", detail) if superseded else None)


def test_a_station_cannot_leave_out_the_prices_that_it_accepted_meanwhile(honest: Story) -> None:
    """Where the journal has them, the first ones need not be in force any longer; each entry is judged."""
    other = signal_at(BEGIN_MS, version=8).tariff()
    (digest,), changed_ms = evidence(honest).deliveries, honest.readings[0].utc_ms + 70_000
    ended = {digest: (PriceDelivery(SENT_MS, changed_ms),)}
    known = evidence(honest, deliveries=ended | {tariff_digest(other): (PriceDelivery(changed_ms, None),)})
    assert found(honest, known).reason == "superseded"
    place = next(n for n, (_, at_ms) in enumerate(records(honest)) if at_ms >= changed_ms)
    change = TariffSet(tariff=other), records(honest)[place][1]
    priced = rewritten(honest, [*records(honest)[:place], change, *records(honest)[place:]])
    assert judged(priced, known).finding is None
    assert found(priced, replace(known, deliveries=ended)).reason == "prices"


def test_an_offer_has_the_prices_in_force_not_earlier_ones(honest: Story) -> None:
    other = signal_at(BEGIN_MS, version=8)
    other = replace(other, slots=tuple(replace(each, export_compensation=0) for each in other.slots))
    sent = PriceDelivery(SENT_MS, None)
    known = evidence(honest)
    known = replace(known, deliveries={**known.deliveries, tariff_digest(other.tariff()): (sent,)})
    place = next(n for n, (each, _) in enumerate(records(honest)) if isinstance(each, TermsOffered))
    change = TariffSet(tariff=other.tariff()), records(honest)[place][1]
    story = rewritten(honest, [*records(honest)[:place], change, *records(honest)[place:]])
    assert found(story, known).reason == "terms"


def test_until_the_first_prices_a_station_has_its_own_limits(honest: Story) -> None:
    (limit, *_) = [record for record, _ in records(honest) if isinstance(record, LimitChanged)]
    own = replace(limit, max_discharge_w=12_000, operator_w=12_000)
    begun, *more = records(honest)
    story = rewritten(honest, [begun, (own, begun[1]), *more])
    assert judged(story, evidence(story)).finding is None


def prequalified(**changes: Any) -> Prequalification:
    """Return a record for the whole station that covers the session, 10.9 kW."""
    record = Prequalification(
        station_id="CS", certificate="VDE-1", evse_id=0, operator="DSO", valid_from_ms=BEGIN_MS - 1000,
        valid_until_ms=BEGIN_MS + 3_600_000, most_export_w=10_900,
    )  # fmt: skip
    return replace(record, **changes)


def test_feed_in_is_bound_by_what_the_station_is_prequalified_for(honest: Story) -> None:
    """The first limit is set when the session begins, of 11 kW; commands follow two minutes later."""
    place = place_of(honest, LimitChanged)
    detail = f"entry {place} allows 11 kW out of the vehicle, prequalified are 10.9 kW"
    assert found(honest, evidence(honest, prequalifications=(prequalified(),))) == Finding("limits", detail)
    for bound in (
        prequalified(evse_id=1),
        prequalified(evse_id=2, most_export_w=20_000),  # this EVSE has none
        prequalified(valid_from_ms=BEGIN_MS + 60_000),
        prequalified(valid_from_ms=0, valid_until_ms=BEGIN_MS - 60_000, most_export_w=20_000),
    ):
        assert found(honest, evidence(honest, prequalifications=(bound,))).reason == "limits", bound
    unsent = evidence(honest, prequalifications=(prequalified(),), most_export_w=None)
    assert found(honest, unsent).reason == "limits"
    for free in (
        prequalified(most_export_w=11_000),
        prequalified(evse_id=1, most_export_w=11_000),
        prequalified(valid_from_ms=honest.entries[-1].utc_ms + 60_001),  # nothing was known of it then
    ):
        assert judged(honest, evidence(honest, prequalifications=(free,))).finding is None, free
    nameless = transaction(honest, evse=None)
    assert judged(honest, evidence(honest, nameless, prequalifications=(prequalified(),))).finding is None


@pytest.mark.parametrize("until_ms", [-60_000, -59_999, 0, 59_999])
def test_a_minute_after_a_record_has_ended_its_limit_may_still_be_in_force(honest: Story, until_ms: int) -> None:
    story = rewritten(honest, [each for each in records(honest) if not isinstance(each[0], CommandAccepted)])
    ended = prequalified(valid_from_ms=0, valid_until_ms=BEGIN_MS + until_ms, most_export_w=11_000)
    finding = judged(story, evidence(story, prequalifications=(ended,))).finding
    assert (finding is not None and finding.reason == "limits") is (until_ms == -60_000)


def test_a_minute_before_a_record_begins_and_at_its_edges_the_higher_limit_counts(honest: Story) -> None:
    """A record of 5 kW gives way to one of 11 kW, or one of 11 kW holds for a moment only."""
    for edge_ms, fits in ((60_000, True), (60_001, False)):
        low = prequalified(valid_from_ms=0, valid_until_ms=BEGIN_MS + edge_ms, most_export_w=5_000)
        high = prequalified(valid_from_ms=BEGIN_MS + edge_ms, certificate="VDE-2", most_export_w=11_000)
        finding = judged(honest, evidence(honest, prequalifications=(low, high))).finding
        assert (finding is None) is fits
    spans = (low, replace(high, valid_from_ms=BEGIN_MS, valid_until_ms=BEGIN_MS + 1))
    first = found(honest, evidence(honest, prequalifications=spans))
    assert "5 kW" in first.detail
    assert place_of(honest, LimitChanged) < int(first.detail.split()[1])


def test_one_price_of_an_offer_that_was_not_sent_is_enough(pki: PkiTree) -> None:
    sent = signal_at(BEGIN_MS).tariff()
    first, second, *more = sent.slots
    dear = replace(second, export_compensation=30_000_000)
    story = delivered(session_of(pki, BEGIN_MS, secret=replace(sent, slots=(first, dear, *more))))
    detail = f"entry {place_of(story, TermsOffered)} offers other prices than those in force"
    assert found(story, evidence(story)) == Finding("terms", detail)


def test_certificates_are_needed_for_a_contract_and_for_signed_messages(pki: PkiTree, honest: Story) -> None:
    plain = {each.name: each for each in LIES}["feed-in by the plain standard"].story(honest, pki, BEGIN_MS)
    kept = [each for each in records(honest) if not isinstance(each[0], ContractAuthorized)]
    nobody = rewritten(honest, kept, token=None)
    for story in (plain, nobody):
        finding = found(story, evidence(story, certificates=None), Rules(unsigned_feed_in=True))
        assert (finding.reason, finding.missing) == ("certificates", True)


def test_feed_in_by_the_plain_standard_after_commands_is_not_covered(pki: PkiTree) -> None:
    session = LyingSession(pki, BEGIN_MS)
    session.tariff = signal_at(BEGIN_MS).tariff()
    session.start()
    session.offer()
    session.flow(-9_000, 60_000)
    session.gate.stop()
    session.record(ServiceChanged(service="DC_BPT", discharge="standard", reason="renegotiated"))
    session.now += 5_000
    session.read()
    for _ in range(12):
        session.export_mwh += 12_500
        session.now += 5_000
        session.read(-9_000)
    session.end()
    story = delivered(session)
    fed_back = story.readings[-1].export_mwh - story.readings[0].export_mwh
    detail = f"of {fed_back / 1000:g} Wh some were fed back without signed commands"
    assert found(story, evidence(story)) == Finding("feed_in", detail)
    assert judged(story, evidence(story), Rules(unsigned_feed_in=True)).finding is None


def test_without_feed_in_neither_an_offer_nor_the_plain_standard_needs_commands(pki: PkiTree) -> None:
    session = LyingSession(pki, BEGIN_MS)
    session.tariff = signal_at(BEGIN_MS).tariff()
    session.start()
    session.offer()
    session.gate.stop()
    session.record(ServiceChanged(service="DC_BPT", discharge="standard", reason="renegotiated"))
    session.flow(11_000, 60_000)
    session.end()
    story = delivered(session)
    assert judged(story, evidence(story)).finding is None


def test_an_operator_may_agree_to_feed_in_without_commands_and_to_a_price_of_wear(pki: PkiTree, honest: Story) -> None:
    lie = {each.name: each for each in LIES}
    for name in ("feed-in by the plain standard", "feed-in without a command"):
        story = lie[name].story(honest, pki, BEGIN_MS)
        assert judged(story, evidence(story), Rules(unsigned_feed_in=True)).finding is None
    story = lie["a price of wear"].story(honest, pki, BEGIN_MS)
    assert judged(story, evidence(story), Rules(wear=1_000_000)).finding is None
    detail = f"entry {place_of(story, WearPriced)} pays 1.000000 a kWh for wear, not 0.999999"
    assert found(story, evidence(story), Rules(wear=999_999)) == Finding("wear", detail)


def test_the_evse_is_compared_where_the_station_names_it(honest: Story) -> None:
    assert judged(honest, evidence(honest, transaction(honest, evse_id=EVSE_ID))).finding is None
    assert found(honest, evidence(honest, transaction(honest, evse_id="X"))).reason == "evse"


# -- meter values of a session without contract and prices: every ten seconds 1 kWh, from 50 kWh on

KWH = 1_000_000
FIRST = 50 * KWH


def metered(
    *,
    rollover_mwh: int | None = None,
    status: MeterStatus | None = None,
    step_mwh: int = KWH,
    exports: tuple[int, ...] = (7, 7, 7, 7, 7),
) -> Story:
    """Return a session of 40 s that takes 4 kWh; `status` is that of the reading at 20 s."""
    begun = SessionStarted(
        station_id="CS", evse_id="E", session_id="00", meter_serial="M", meter_certificate="00",
        charger_certificate="00", import_mwh=FIRST, export_mwh=exports[0], discharge="none",
        rollover_mwh=UNSET if rollover_mwh is None else rollover_mwh,
    )  # fmt: skip
    ledger, lines = SessionJournal(), list[bytes]()
    lines += ledger.record(begun, BEGIN_MS)
    for place in range(1, 4):
        marks: Any = (status,) if status and place == 2 else UNSET
        reading = MeterReading(import_mwh=FIRST + place * step_mwh, export_mwh=exports[place], status=marks)
        lines += ledger.record(reading, BEGIN_MS + place * 10_000)
    lines += ledger.end("vehicle", BEGIN_MS + 40_000, import_mwh=FIRST + 4 * step_mwh, export_mwh=exports[4])
    readings = tuple(readings_of(verify_lines(b"".join(lines))))
    return Story(lines=tuple(lines), readings=readings, charger=(), contract=(), token=None)


def values(*given: tuple[float, float], over: bool = True, export: int | None = 7, shift: int = 0) -> SeenTransaction:
    """Return a transaction with meter values: (s, kWh) since the begin of the session."""
    return SeenTransaction(
        transaction_id="tx-1",
        started_ms=BEGIN_MS,
        ended_ms=BEGIN_MS + 100_000 if over else None,
        over=over,
        evse=1,
        evse_id="",
        id_token="",
        token_type="",
        answer="",
        readings=tuple(
            Reading(BEGIN_MS + round(s * 1000), FIRST + round(kwh * KWH) + shift, export) for s, kwh in given
        ),
    )


def compared(story: Story, seen: SeenTransaction) -> Finding | None:
    known = Evidence(
        station_id=STATION, transactions=(seen,), deliveries={}, most_export_w=None, prequalifications=(),
        certificates=None, charger=None, booked={},
    )  # fmt: skip
    return judged(story, known).finding


@together(
    ("given", "said"),
    [
        ([(0, 0), (40, 4)], None),
        ([(-9, 0), (25, 2.5), (49, 4)], None),
        ([(-90, -3), (-9, 0), (49, 4), (99, 6)], None),  # other sessions of the transaction
        ([(0, 0), (10, 1), (20, 2), (30, 3), (40, 4)], None),
        ([(2, 0.2), (40, 4)], "began at 50000 Wh, by the meter value at 50200 Wh"),
        ([(2.001, 0.2), (40, 4)], None),
        ([(0, 0), (39.999, 4)], None),
        ([(0, 0), (39, 3.9)], "ended at 54000 Wh, by the meter value at 53900 Wh"),
        ([(0, 0), (40, 4), (41, 9)], None),
        ([(0, 0), (15, 0.5), (40, 4)], "was 50500 Wh"),
        ([(0, 0), (15, 2.5), (40, 4)], "not 51000 to 52000 Wh"),
        ([(0, 0), (12, 1), (40, 4)], None),
        ([(0, 0), (11.999, 0.5), (40, 4)], None),
        ([(0, 0), (12, 0.5), (40, 4)], "not 51000 to 52000 Wh"),
        ([(0, 0), (8, 1.5), (40, 4)], "not 50000 to 51000 Wh"),
        ([(0, 0), (8.001, 1.5), (40, 4)], None),
        ([(0, 0), (20, 2), (39.999, 4)], None),
        ([(0, 1.5), (1, 0), (40, 4)], "was 51500 Wh"),
        ([(0, 0), (40, 4), (40, 2)], "was 52000 Wh"),
        ([], "no meter value of the import register"),
    ],
)
def test_meter_values_are_compared_before_within_and_after_the_session(
    given: list[tuple[float, float]], said: str | None
) -> None:
    finding = compared(metered(), values(*given))
    assert (finding is None) is (said is None), finding
    if finding is not None and said is not None:
        assert (finding.reason, finding.missing, said in finding.detail) == ("registers", False, True), finding.detail
        assert "import register" in finding.detail


def test_while_the_transaction_goes_on_a_value_at_the_end_is_waited_for() -> None:
    assert compared(metered(), values((0, 0), (40, 4), over=False)) is None
    waiting = compared(metered(), values((0, 0), (39.9, 4), over=False))
    assert waiting is not None
    assert waiting.missing


def test_a_register_that_is_not_reported_must_not_have_moved() -> None:
    assert compared(metered(), values((0, 0), (40, 4), export=None)) is None
    moved = compared(metered(), values((0, 0), (40, 4), export=20_000))
    assert moved is not None
    assert "export register began at 0.007 Wh" in moved.detail
    for exports in ((7, 7, 7, 7, 20_000), (7, 20_000, 20_000, 20_000, 20_000)):
        unseen = compared(metered(exports=exports), values((0, 0), (40, 4), export=None))
        assert unseen is not None
        assert unseen.detail == "no meter value of the export register at the end of the session"


def test_without_any_meter_value_also_a_session_without_energy_waits() -> None:
    still = metered(step_mwh=0)
    assert compared(still, values((0, 0), (40, 0))) is None
    assert compared(still, values()) is not None


def test_over_a_jump_of_the_clock_only_begin_and_end_count() -> None:
    marks: tuple[MeterStatus | None, ...] = (None, "missing", "time_jump")
    for status in marks:
        finding = compared(metered(status=status), values((0, 0), (15, 3.5), (40, 4)))
        assert (finding is None) is (status == "time_jump")
    assert compared(metered(status="time_jump"), values((0, 0), (40, 4.1))) is not None


@pytest.mark.parametrize(
    ("shift", "fits"), [(0, True), (300 * KWH, True), (-100 * KWH, True), (50 * KWH, False), (KWH, False)]
)
def test_meter_values_may_be_above_the_journal_by_whole_rollovers(shift: int, fits: bool) -> None:
    story = metered(rollover_mwh=100 * KWH)
    assert (compared(story, values((0, 0), (15, 1.5), (40, 4), shift=shift)) is None) is fits
    assert (compared(metered(), values((0, 0), (40, 4), shift=shift)) is None) is (shift == 0)


@pytest.mark.requirement("R195")
@pytest.mark.parametrize(("way", "name"), [(0, "import"), (1, "export")])
def test_a_journal_beyond_the_limits_that_its_station_had_accepted_is_held(honest: Story, way: int, name: str) -> None:
    """Each direction has its own."""
    registers = readings_of(honest.entries)
    flowed_mwh = [
        getattr(registers[-1], f"{each}_mwh") - getattr(registers[0], f"{each}_mwh") for each in ("import", "export")
    ]
    assert min(flowed_mwh) > 0
    span_ms = registers[-1].utc_ms - registers[0].utc_ms
    least_w = [each * 3600 // span_ms for each in flowed_mwh]
    rating = RatedPower(22_000, 22_000)
    limits: list[tuple[tuple[int, int], ...]] = [((BEGIN_MS - 1, 21_999),), ((BEGIN_MS - 1, 21_999),)]
    seen = transaction(honest, rating=rating, permitted=(limits[0], limits[1]))
    assert judged(honest, evidence(honest, seen)).finding is None
    limits[way] = ((BEGIN_MS - 1, least_w[way] // 2),)
    finding = found(honest, evidence(honest, replace(seen, permitted=(limits[0], limits[1]))))
    assert (finding.reason, finding.missing) == ("limits", False)
    assert f"the {name} register rises" in finding.detail
    assert f"limits of up to {least_w[way] // 2 / 1000:g} kW permitted" in finding.detail
    other = replace(seen.readings[-1], **{f"{name}_mwh": getattr(registers[-1], f"{name}_mwh") - 20_000})
    contradicted = replace(seen, permitted=(limits[0], limits[1]), readings=(*seen.readings[:-2], other))
    finding = found(honest, evidence(honest, contradicted))
    assert (finding.reason, "by the meter value" in finding.detail) == ("registers", True)
    coming = replace(seen, permitted=(limits[0], limits[1]), readings=seen.readings[:-2], ended_ms=None, over=False)
    finding = found(honest, evidence(honest, coming))  # imports are looked at first
    assert (finding.reason, finding.missing) == (("registers", True) if way else ("limits", False))


@pytest.mark.requirement("R195")
@pytest.mark.parametrize("ended_ms", [None, BEGIN_MS + 86_400_000], ids=["not at all", "a day later"])
@pytest.mark.parametrize("over", [False, True])
@pytest.mark.parametrize("reason", ["token", "registers"])
def test_beside_a_transaction_whose_end_is_not_known_a_journal_waits_for_its_own(
    honest: Story, reason: str, over: bool, ended_ms: int | None
) -> None:
    """One before it began with other registers, and perhaps with another contract; it goes on, or its end was lost."""
    before = transaction(honest, evse_id=EVSE_ID, ended_ms=ended_ms, over=over, started_ms=BEGIN_MS - 7_200_000)
    if reason == "token":
        before = replace(before, id_token="DEV2GC00000002")
    first = honest.readings[0]
    before = replace(before, readings=(Reading(BEGIN_MS - 3_600_000, first.import_mwh + 70_000_000, 0),))
    finding = found(honest, evidence(honest, before))
    assert (finding.reason, finding.missing) == (reason, not over or ended_ms is None)
    assert judged(honest, evidence(honest, before, transaction(honest))) == BookingJudgement("tx-1", None)


@pytest.mark.requirement("R195")
@pytest.mark.parametrize("ended_s", [None, 86_000], ids=["goes on", "ended"])
def test_a_session_is_of_its_own_transaction_not_of_that_which_soon_followed(
    honest: Story, ended_s: int | None
) -> None:
    """The vehicle was back at once, with registers where they stood, and its own transaction ended a little early."""
    first, last = honest.readings[0], honest.readings[-1]
    own = transaction(honest, evse_id=EVSE_ID, ended_ms=last.utc_ms - 2_000, started_ms=first.utc_ms - 1_000)
    next_ms = last.utc_ms - 1_000
    following = replace(
        own, transaction_id="tx-2", started_ms=next_ms, over=ended_s is not None,
        ended_ms=None if ended_s is None else next_ms + ended_s * 1000,
        readings=(Reading(last.utc_ms + 1_000, last.import_mwh, last.export_mwh),),
    )  # fmt: skip
    rules = Rules(margin_ms=86_400_000)
    assert judged(honest, evidence(honest, following), rules) == BookingJudgement("tx-2", None)
    for both in ((following, own), (own, following)):
        assert judged(honest, evidence(honest, *both), rules) == BookingJudgement("tx-1", None)


@pytest.mark.requirement("R195")
def test_a_session_without_energy_is_not_of_the_transaction_before_it() -> None:
    own = values((0, 0), (40, 0))
    before = replace(own, transaction_id="tx-0", started_ms=BEGIN_MS - 90_000, ended_ms=BEGIN_MS - 1_000)
    story = dataclasses.replace(metered(step_mwh=0), certified=False)
    assert judged(story, evidence(story, before, own)).transaction_id == "tx-1"


@pytest.mark.requirement("R195")
@pytest.mark.parametrize(
    ("name", "changes", "reason", "missing"),
    [
        (EVSE_ID, {"started_ms": BEGIN_MS + 3_600_000}, "times", True),
        ("DE*V2G*E2", {}, "evse", True),
        (EVSE_ID, {"id_token": "DEV2GC00000002"}, "token", False),
        ("", {"id_token": "DEV2GC00000002"}, "token", True),
        ("", {"readings": (Reading(BEGIN_MS, 1, 0),)}, "registers", False),
    ],
)
def test_beside_one_that_has_ended_it_waits_for_its_own_if_that_may_be_at_another_evse(
    honest: Story, name: str, changes: dict[str, Any], reason: str, missing: bool
) -> None:
    other = replace(transaction(honest, evse_id=name, ended_ms=BEGIN_MS + 86_400_000), **changes)
    finding = found(honest, evidence(honest, other))
    assert (finding.reason, finding.missing) == (reason, missing)
