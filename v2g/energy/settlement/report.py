"""The report on a verified bundle, as text."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from v2g.energy.settlement.authorization import Authorization
from v2g.energy.settlement.corrections import Addendum, Change
from v2g.energy.settlement.pricing import Total
from v2g.energy.settlement.proof import DischargeProof
from v2g.energy.settlement.records import MeterStatus
from v2g.energy.settlement.rows import iso_time
from v2g.energy.settlement.settle import Settlement
from v2g.energy.settlement.taxes import Taxation
from v2g.units import decimals_of, payable


class Received(msgspec.Struct, frozen=True):
    """The back end's receipt of the whole journal: the key (SHA-256) that signed it; whether the reader knows it.

    `taxation` is the VAT with which the session was booked, missing in receipts of earlier versions. `priced`: that key
    also signed its prices.
    """

    key: str
    known: bool
    taxation: Taxation | UnsetType = UNSET
    priced: bool = False


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was proved. `lines()` returns it as text."""

    settlement: Settlement
    discharge: DischargeProof
    confirmations: int | None
    """Number of readings that the vehicle signed by the plain standard; None if not checked."""
    confirmed_wh: tuple[int, int] | None
    """Energy into and out of the vehicle, Wh of the session, in the last of them."""
    authorization: Authorization | None = None
    """How the session was authorised; None if not checked."""
    copies: int | None
    """Number of checkpoints that another party's copies have, too; None without copies."""
    charger: str
    contract: str | None
    meter: str
    version: int
    """Of the bundle."""
    received: Received | None = None
    """The back end's receipt; None without one."""
    addendum: Addendum | None = None
    """What the operator changed afterwards; None without its copy of the journal."""
    signed_readings: int = 2
    """Number of readings of each direction that the meter signed, begin and end included."""
    roots: tuple[str, ...]
    own_anchors: bool
    interop: bool
    reaction_ms: int
    """How late power may have followed a command, and, as `tolerance_permille`, how far exceeded it."""
    tolerance_permille: int
    expired: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether somebody beside charger and meter signed that the journal goes to the session's end."""
        received = self.received is not None and self.received.known
        return self.settlement.state == "closed" and (self.discharge.checkpoints.ended or received)

    @property
    def verdict(self) -> str:
        """What a verified bundle is: "verified", or what it lacks."""
        if self.copies == 0:
            return "no copy of this session"
        return "verified" if self.complete else "verified, but incomplete"

    def lines(self) -> list[str]:
        """Return the report, one sentence per line."""
        return _sentences(self)


def _completeness(report: Report) -> str:
    """Return the first line: who signed that nothing is missing at the end."""
    reason, received = report.settlement.reason, report.received
    if report.settlement.state != "closed":
        return "INCOMPLETE: the journal has no end"
    if report.discharge.checkpoints.ended:
        return "Complete: the vehicle signed the end of the session"
    if received is not None and received.known:
        return (
            f"Complete: the operator signed that its back end has this whole journal; that the session ended by "
            f"{reason} is the charger's statement"
        )
    why = "INCOMPLETE: the vehicle has not signed the end of the session, and "
    if received is not None:
        return f"{why}the receipt of the journal is signed by a key that was not given (--operator): {received.key}"
    return f"{why}there is no receipt of the journal: entries may be missing at its end"


def _kwh(mwh: int) -> str:
    return f"{mwh // 1_000_000}.{mwh % 1_000_000:06d} kWh"


def _count(of: Sequence[object], one: str) -> str:
    return f"{len(of)} {one}{'' if len(of) == 1 else 's'}"


def _money(micro: int, currency: str) -> str:
    return f"{payable(Decimal(micro).scaleb(-6), currency)} {currency}"


def _total(t: Total) -> str:
    return (
        f"import {_kwh(t.import_mwh)} costs {_money(t.import_cost, t.currency)}, export {_kwh(t.export_mwh)} "
        f"earns {_money(t.export_credit, t.currency)}{_wear(t)}, balance to pay {_money(t.balance, t.currency)}"
    )


def _changed(addendum: Addendum) -> Iterator[str]:
    """Yield who changed what after the session, with whose key, and the totals with that."""
    for each in addendum.changes:
        if each.price is not None:
            what = f"line {each.line} at {decimals_of(each.price)} per kWh"
        else:
            what = f"all lines at tariff {each.version}"
        yield f"Changed by the operator at {iso_time(each.utc_ms)}: {what}, by {each.by or 'unnamed'}: {each.reason}"
        yield _whose(each)
    if not addendum.changes:
        yield "The operator changed nothing"
    yield from (f"Total by the operator's addendum: {_total(t)}" for t in addendum.totals)


def _whose(change: Change) -> str:
    if change.key is None:
        return "... without a signature: the back end's statement alone"
    return f"... signed by the operator's key {change.key}" + (
        "" if change.known else ": compare it with the operator's"
    )


def _wear(total: Total) -> str:
    return f", wear {_money(total.wear_credit, total.currency)}" if total.wear_credit is not UNSET else ""


_STATUS: Final[dict[MeterStatus, str]] = {
    "missing": "the meter did not answer: its registers are interpolated",
    "reset": "a register fell or jumped: no energy counts across it",
    "rollover": "a register started again at 0: energy counts over it",
    "time_jump": "the clock jumped: energy is exact, its time is not",
}


def _metering(settlement: Settlement) -> list[str]:
    """Return a sentence for each status of readings, and for energy that the meter did not count."""
    lines = [
        f"In {len(starts)} intervals, first that of {iso_time(starts[0])}: {_STATUS[status]}"
        for status, starts in affected(settlement).items()
    ]
    if (unmetered := settlement.unmetered) is not UNSET:
        lines.append(
            f"By the charger's own measurement import {_kwh(unmetered.import_mwh)} and export "
            f"{_kwh(unmetered.export_mwh)} flowed that the meter did not count: part of no line"
        )
    return lines


def affected(settlement: Settlement) -> dict[MeterStatus, list[int]]:
    """Return the starts (ms since 1970) of the intervals whose energy has readings of a status, by status."""
    found: dict[MeterStatus, list[int]] = {}
    for each in settlement.intervals:
        for status in () if each.status is UNSET else each.status:
            found.setdefault(status, []).append(each.start_ms)
    return {status: found[status] for status in _STATUS if status in found}


UNSIGNED: Final[dict[Authorization | None, str]] = {
    "unsigned": "a contract pays, in a journal of an earlier version, which has no signed AuthorizationReq",
    "external": "it was authorised by external means (EIM)",
    None: "it was not checked",
}
"""Why nobody signed that the vehicle was there."""


def _authorization(report: Report) -> Iterator[str]:
    if report.authorization == "signed":
        yield "Authorisation signed: the contract's key signed the hash of the first entry, so for this session alone"
    elif report.authorization is not None:
        yield (
            f"Authorisation {report.authorization}: {UNSIGNED[report.authorization]}; that a vehicle was there is the "
            "charger's statement"
        )


def _checkpoint_sentences(report: Report) -> Iterator[str]:
    """Yield what the vehicle has signed of journal and energy, and what not."""
    proved, entries = report.discharge.checkpoints, report.settlement.journal_entries
    if proved.version == 2:
        last = f", the last one {'after power had stopped' if proved.final else 'while power could flow'}"
        yield (
            f"Checkpoints: {proved.countersigned} of {proved.issued} countersigned by the vehicle"
            + (last if proved.countersigned else "")
            + (f"; {proved.refused} refused" if proved.refused else "")
        )
        yield (
            f"Both sides signed the first {proved.entries} of {entries} entries, with import {_kwh(proved.import_mwh)} "
            f"and export {_kwh(proved.export_mwh)}; of the rest, import {_kwh(proved.after_import_mwh)} and export "
            f"{_kwh(proved.after_export_mwh)}, only charger and meter state the energy"
        )
    elif proved.version == 1:
        yield (
            "No checkpoints, as discharge was signed by version 1: the vehicle signed terms and commands, but no "
            "register, and that the journal is complete is the charger's statement alone"
        )
    if report.confirmations and report.confirmed_wh is not None:
        charged, discharged = report.confirmed_wh
        yield (
            f"The vehicle signed {report.confirmations} meter readings by the plain standard, the last one at "
            f"{charged} Wh in and {discharged} Wh out; these do not show prices, consent, or what came after them"
        )
    elif proved.version == 0 and report.confirmations is not None:
        yield "The vehicle signed nothing about energy: registers and journal are statements of charger and meter alone"
    if report.copies is not None:
        found = f"{report.copies} checkpoints of this session, all in the journal" if report.copies else report.verdict
        yield f"Another party's copies: {found}"


def _discharge(report: Report) -> Iterator[str]:
    """Yield what is proven of energy that was fed back, and of signed messages, if there were any."""
    proof = report.discharge
    if proof.offers or proof.rejections:
        yield (
            f"Signed messages: {proof.offers} offers, {proof.acceptances} acceptances, {proof.commands} commands "
            f"followed, {proof.rejections} messages rejected"
        )
    if not proof.export_mwh:
        yield "No energy was fed back"
    elif proof.covered:
        yield f"Every mWh of {_kwh(proof.export_mwh)} fed back was allowed by a live signed command"
    else:
        yield "Discharge by the plain standard: the energy fed back has no signed commands"
    if proof.commands:
        yield (
            f"Power could follow a command {report.reaction_ms / 1000:g} s late and exceed it by "
            f"{report.tolerance_permille / 10:g} %"
        )


def _sentences(report: Report) -> list[str]:
    s = report.settlement
    lines = [
        _completeness(report),
        f"Session {s.session_id} at {s.evse_id} of {s.station_id}: {s.state}"
        + (f", ended by {s.reason}" if s.reason else ""),
        f"Journal: {s.journal_entries} entries, unbroken, head {s.journal_head}"
        + (
            ", which the meter signed" if report.version > 1 else "; bundle of version 1, without the meter's signature"
        ),
        f"Charger {report.charger}, meter {report.meter}, contract {report.contract or 'none'}: chains are valid",
        (
            f"Meter signed {report.signed_readings} readings of both directions: "
            f"import {_kwh(s.end.import_mwh - s.begin.import_mwh)}, "
            f"export {_kwh(s.end.export_mwh - s.begin.export_mwh)}"
        ),
        *_authorization(report),
        *_discharge(report),
        *_metering(s),
        *_checkpoint_sentences(report),
        f"{_count(s.intervals, 'interval')} and {_count(s.lines, 'line')} add up to the registers",
    ]
    lines += [
        f"Total by the charger's bundle: {_total(t)}" if report.addendum else f"Total: {_total(t)}" for t in s.totals
    ]
    if report.addendum is not None:
        lines += _changed(report.addendum)
    if report.received is not None and report.received.known:
        whose = "the operator's, signed" if report.received.priced else "the charger's statement"
        lines.append(f"The prices are {whose}")
    if report.interop:
        lines.append("Certificates were verified by the interoperability profile (secp256r1, SHA-256), not that of -20")
    lines += [f"Expired since: {name}" for name in report.expired]
    if not report.own_anchors:
        lines.append("Roots were taken from the bundle; compare them with your own: " + ", ".join(report.roots))
    return lines
