"""A case of the conformance test, the observation of a device, and its evaluation (pure).

A case is data: scripts for one or more connections, each with its expected end. A tester runs a script
against a device (`v2g_testkit.cases.vehicle`, `v2g_testkit.cases.charger`) and returns `Seen`; `judge` evaluates it.
The ids are ours, or those of ISO 15118-4; nothing here is its test suite, or that of ISO 15118-21.
"""

import fnmatch
from collections.abc import Iterable
from enum import Enum
from fnmatch import fnmatchcase
from typing import Final

import msgspec

from v2g.iso15118.d20.charts import Family
from v2g.iso15118.engine.sequence import Asks, State
from v2g.iso15118.engine.session import MANUFACTURER_RANGE
from v2g.iso15118.engine.v2gtp import PayloadType
from v2g_testkit.cases.declaration import ChargerDeclaration

MEASURING_S: Final = 0.05
"""Tolerance of measured times for the network and the own event loop, s."""

CLOSING_S: Final = 10.0
"""Time for a device to close after it must end its session, s; not public except for the ordinary
end."""


PRECONDITION: Final = "precondition: "
"""How a result begins where the device did not come to the state in which a case begins."""

REFUSED: Final = "precondition refused: "
"""How it begins where the device is there, and answers or sends something else than the case needs to begin."""

OPTIONAL: Final = ("DC_WeldingDetectionReq", "WeldingDetectionReq")
"""Requests of a whole session that a vehicle may leave out."""

WRONG: Final = "wrong: "
"""Prefix of facts about a positive response with a value that it must not have."""


class Verdict(Enum):
    """Result of a case. Only `FAIL` is a fault of the device."""

    PASS = "pass"  # noqa: S105 - a verdict
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    OPEN = "open"
    NOT_EXERCISED = "not exercised"
    """The device had no chance to show it."""
    NOT_APPLICABLE = "not applicable"


class Expect(msgspec.Struct, frozen=True, kw_only=True):
    """Expected observations. None or empty is not checked; with `open` nothing is, only reported."""

    codes: tuple[str, ...] = ()
    """Names of response codes, with * as suffix; the response must be that of the request."""
    answered: bool | None = None
    """Whether there must be an answer."""
    closes: bool | None = None
    """Whether the device must close the connection on its own, or must not."""
    within: tuple[float, float] | None = None
    """Range of seconds from the stimulus in which the device must close."""
    timely: tuple[str, float] | None = None
    """Request, and the maximum time of its answers in s."""
    facts: tuple[str, ...] = ()
    """Facts that must have been recorded (see `Seen.facts`)."""
    no_facts: tuple[str, ...] = ()
    """Facts that must not have been recorded."""
    state_b: bool = False
    """Whether a vehicle that had shown state C must show B again, if the pilot is measured."""
    reaches: bool = False
    """Whether a device that prevents reaching the goal fails."""
    open: bool = False

    @property
    def judges(self) -> bool:
        """Whether anything is expected."""
        return self != Expect(open=self.open)


class Ask(msgspec.Struct, frozen=True, tag=True):
    """Send a request valid in the session so far, changed by `change` (`v2g_testkit.cases.changes`)."""

    request: str
    change: str = ""
    finished_s: float = 0.0
    """How long it is repeated until the charger has finished, s; 0: once."""
    unless: tuple[str, ...] = ()
    """Response codes that say that the device's back end has not what the case needs."""


class Malformed(msgspec.Struct, frozen=True, tag=True):
    """Send the next request as other bytes (`v2g_testkit.cases.malformed`)."""

    form: str
    again: bool = False
    """Whether the request follows correctly where the bytes were not answered."""


class Silence(msgspec.Struct, frozen=True, tag=True):
    """Send nothing for at most `seconds`."""

    seconds: float


class Nothing(msgspec.Struct, frozen=True, tag=True):
    """Do nothing more: reaching the goal is the test."""


class Beside(msgspec.Struct, frozen=True, tag=True):
    """Send requests on a side stream of ISO 15118-20, each beside one of the charge loop where that runs."""

    stream: PayloadType
    requests: tuple[str, ...]
    """In order; the last is judged, those before must be answered positively."""
    change: str = ""
    """Change of the last (`v2g_testkit.cases.changes`)."""
    form: str = ""
    """The last as other bytes (`v2g_testkit.cases.malformed`)."""


Do = Ask | Malformed | Silence | Nothing | Beside


class Detour(msgspec.Struct, frozen=True, kw_only=True):
    """A vehicle's action on its way to the goal of a script, once, at `at`."""

    at: State
    request: str = ""
    """Its request there; empty: the operator ends the session at the charger, and the vehicle waits for the notice."""
    asks: Asks = Asks.ANYTHING
    change: str = ""
    before_s: float = 0.0
    """Duration of the charge loop before, s."""
    rest_s: float = 0.0
    """How long it sends nothing afterwards, or continues the loop in spite of a notice, s."""


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """One connection with a charger: reach `goal` in order, then `do`, then observe."""

    goal: State
    do: Do = Nothing()
    detour: Detour | None = None
    expect: Expect = Expect()
    identity: str = "vehicle"
    """The vehicle's certificate in TLS."""
    pay: str = ""
    """EIM or PnC, if relevant."""
    bidirectional: bool | None = None
    scheduled: bool | None = None
    der: bool = False
    """Whether the vehicle selects AC DER."""
    resume: bool = False
    """Whether to resume the session of the previous script."""
    installs: bool = False
    """Whether the vehicle of ISO 15118-2 selects the service for contracts, so that the charger must offer it."""
    pilot: str = ""
    """B: the vehicle never shows C; C: it does not return to B. Empty: as the session demands."""


class ChargerScript(msgspec.Struct, frozen=True, kw_only=True):
    """One connection of a vehicle: the answer to the `nth` request `at` is modified, or none, to observe only."""

    at: str = ""
    nth: int = 1
    twist: str = ""
    """`code`, `other session`, `other response`, `silence`, `ongoing`, `no voltage`, `less voltage`, `too much
    voltage`, `too much current`, `mode of BPT`, `notify`, `forgets`, `bytes`, `close`."""
    value: str = ""
    again: bool = False
    """Whether every later answer to that request is modified as well."""
    watch_s: float = CLOSING_S
    """How long the vehicle is observed afterwards."""
    expect: Expect = Expect()
    pay: str = ""
    """EIM or PnC: the only method offered, if relevant."""
    der: str = ""
    """Offer AC DER, with these demands; empty: do not."""
    notice: str = ""
    """The charger's notice in the third answer of the loop, so that the vehicle comes to `at`."""
    resume: bool = False
    """Whether the vehicle may join the session that it paused in the script before."""
    measures_pilot: bool = False
    """Whether the control pilot must be measured."""


class Described(msgspec.Struct, frozen=True, kw_only=True):
    """What selection and reports need to know of a case, whatever it tests."""

    id: str
    """Unique among the cases of a device."""
    title: str
    """What is done."""
    required: str
    """The requirement, in our own words."""
    requirements: tuple[str, ...] = ()
    """Public numbers of the requirement."""
    published: tuple[str, ...] = ()
    """Published ids of another suite to which it corresponds."""
    open: str = ""
    """Why the case cannot fail a device."""
    quick: bool = True
    """Whether it belongs to the selection of `--quick`."""

    @property
    def group(self) -> str:
        """The part of the id that names a group of cases."""
        return self.id.partition("-")[0]


class Case(Described, frozen=True, kw_only=True):
    """One test case of a device that speaks ISO 15118, or of a driver. `published`: ids of ISO 15118-4; of vehicles,
    whose numbers are not public, the group. If only one script is open, it is stated there."""

    family: Family | None = None
    scripts: tuple[Script, ...] = ()
    charger_scripts: tuple[ChargerScript, ...] = ()
    """Scripts for a vehicle."""
    transport: str = ""
    """TLS or TCP, if the case is about one of them."""
    needs: tuple[str, ...] = ()
    """Features of `ChargerDeclaration` that the device has, or after `not` has not, if the case is for it."""
    probe: str = ""
    """Probe used instead of scripts if no session is involved (SDP, TLS)."""
    expect: Expect = Expect()
    """Expected observation of a probe."""

    @property
    def group(self) -> str:
        """The second part of the id: SDP, TLS, SAP, SEQ, ...; in those of ISO 15118-4 the message."""
        return self.id.split("_")[4] if self.id.startswith("TC_") else self.id.split("-")[1]

    def does_not_apply(self, declared: ChargerDeclaration, *, tls: bool) -> str:
        """Return why the case is not for a device that is tested over TLS, or over plain TCP; or nothing."""
        if self.transport not in ("TLS" if tls else "TCP", ""):
            return f"the device is tested {'over' if tls else 'without'} TLS"
        return declared.lacks(self.needs)

    def for_device(self, declared: ChargerDeclaration) -> "Case":
        """Return the case as it is for a device: what is declared is not left open."""
        return msgspec.structs.replace(self, open="") if declared.has(self.needs) else self


def vehicle_case(
    family: Family, name: str, title: str, required: str, ids: tuple[str, ...], script: ChargerScript, **more: object
) -> Case:
    """Return the case of a vehicle, called `GROUP-form`, by one script; `more` are fields of Case."""
    group, _, rest = name.partition("-")
    return Case(
        id=f"EVCC-{group}-{family.value}-{rest}",
        title=title,
        required=required,
        requirements=ids,
        family=family,
        charger_scripts=(script,),
        **more,  # type: ignore[arg-type]
    )


def probe_case(
    device: str,
    name: str,
    title: str,
    required: str,
    ids: tuple[str, ...],
    why: str = "",
    needs: tuple[str, ...] = (),
    **expect: object,
) -> Case:
    """Return the case of a probe, called `group:form`, with a device (SECC or EVCC); `expect` are fields of Expect."""
    group, _, form = name.partition(":")
    return Case(
        id=f"{device}-{group.upper()}-{form}",
        title=title,
        required=required,
        requirements=ids,
        open=why,
        needs=needs,
        probe=name,
        expect=Expect(**expect),  # type: ignore[arg-type]
    )


MOST_FACTS: Final = 10
"""Facts of a kind that a result names."""

UNDECODABLE: Final = "sends an undecodable message"
"""A fact that fails a device in each case."""


_UNREAD: Final = "sends a V2GTP frame of "


class Seen(msgspec.Struct, kw_only=True):
    """Observation of a device on one connection, or by one probe."""

    reached: bool = True
    began: bool = True
    """Whether a vehicle connected, and in a whole session let energy flow; else it has shown little."""
    state: str = ""
    """State of the conversation."""
    trouble: str = ""
    """What prevented the test from proceeding."""
    at_fault: bool = False
    """Whether this is a fault of the device, independent of the case."""
    absent: str = ""
    """What the device or the tester does not support, so that the case does not apply."""
    request: str = ""
    answer: str = ""
    """Name of the received message."""
    code: str = ""
    answer_s: float | None = None
    closed_s: float | None = None
    """Seconds from the stimulus (or its answer) until the device closed; None if it did not."""
    times: list[tuple[str, float]] = []
    """Every answered request, with its time in s."""
    pilot_c: bool = False
    """Whether the control pilot was in state C before."""
    facts: list[str] = []
    """Other observations, by stable names."""
    late_s: float = 0.0
    """By how much the tester itself was late at most, s."""

    def received(self, payload_type: int, payload: bytes) -> None:
        """Note a V2GTP frame of ISO 15118-2 or DIN 70121 if it carries no message."""
        if payload_type == PayloadType.SAP:
            if not payload:
                self.facts.append(f"{_UNREAD}another version, or length 0")
        elif payload_type < MANUFACTURER_RANGE:
            self.facts.append(f"{_UNREAD}payload type {payload_type:#06x}")

    def unfinished(self, octets: int) -> None:
        """Note a V2GTP frame of which only these octets have come, if any."""
        if octets:
            self.facts.append(f"{_UNREAD}more than the {octets} octets that came")

    @property
    def unread(self) -> list[str]:
        """What it sent that carries no message."""
        return [each for each in dict.fromkeys(self.facts) if each.startswith(_UNREAD)]

    @property
    def summary(self) -> str:
        """A description of the device's behaviour."""
        parts = []
        if self.answer:
            code = f" {self.code}" if self.code else ""
            parts.append(f"answers {self.answer}{code}")
        elif self.request:
            parts.append("does not answer")
        if self.closed_s is not None:
            parts.append(f"closes after {self.closed_s:.1f} s")
        elif self.request:
            parts.append("does not close")
        parts += dict.fromkeys(self.facts)
        if not parts and self.times:
            name, longest = max(self.times, key=lambda each: each[1])
            parts.append(f"answers all {len(self.times)} requests, {name} slowest with {longest:.3f} s")
        return ", ".join(parts) or self.trouble or "waits"


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """Result of a case, and a sentence with the reason."""

    case: str
    verdict: Verdict
    found: str
    seconds: float = 0.0


def judge(case: Case, seen: list[Seen]) -> tuple[Verdict, str]:
    """Return the result of a case. `seen` has one entry for each script run, or one for a probe."""
    expects = [each.expect for each in case.scripts] + [each.expect for each in case.charger_scripts] or [case.expect]
    opened = any(each.open for each in expects)
    excused = bool(case.open) and not opened  # if one script is open, the others are not
    outcomes, agreed = list[str](), True
    for expect, each in zip(expects, seen, strict=False):
        if each.absent:
            return Verdict.NOT_APPLICABLE, each.absent
        if each.at_fault or (UNDECODABLE in each.facts and not excused):
            return Verdict.FAIL, each.trouble or each.summary
        if not each.reached:
            late = _wrong_time(expect, each) if expect.timely is not None else ""
            if late and not _wrong_time(expect, each, MEASURING_S + each.late_s):
                return Verdict.INCONCLUSIVE, _own_fault(late, each)
            if (late or expect.reaches) and not excused:
                forbidden = (f"{WRONG}*", *expect.no_facts)
                before = _listed(fact for fact in each.facts if any(fnmatchcase(fact, one) for one in forbidden))
                if late or before or each.began or outcomes:  # one that does not come again has shown enough
                    return Verdict.FAIL, ", ".join(filter(None, (late, before, each.trouble)))
            return Verdict.INCONCLUSIVE, each.trouble or each.summary
        if expect.timely is not None and expect.timely[0] in OPTIONAL and _longest(expect.timely[0], each) is None:
            return Verdict.NOT_APPLICABLE, f"the vehicle sends no {expect.timely[0]}"
        complained = complaint(expect, each)
        wrong = complained and complaint(expect, each, MEASURING_S + each.late_s)
        agreed &= expect.judges and not complained
        if complained and not wrong:
            return Verdict.INCONCLUSIVE, _own_fault(complained, each)
        if wrong and not expect.open:
            return (Verdict.OPEN, f"device {each.summary}") if excused else (Verdict.FAIL, wrong)
        outcomes.append(_took(expect, each) or each.summary)
    if len(seen) < len(expects):
        return Verdict.INCONCLUSIVE, "not all connections were made"
    found = "; ".join(outcomes)
    # If the device meets the requirement, its being open does not matter.
    return (Verdict.OPEN, f"device {found}") if (opened or case.open) and not agreed else (Verdict.PASS, found)


def _own_fault(wrong: str, seen: Seen) -> str:
    return f"{wrong}; but the tester itself was late by {seen.late_s:.2f} s: repeat it on an idle machine"


def complaint(expect: Expect, seen: Seen, margin_s: float = MEASURING_S) -> str:
    """Return the fault in an observation, or nothing; `margin_s` is the tolerance of measured times."""
    return (
        _wrong_answer(expect, seen)
        or _wrong_end(expect, seen, margin_s)
        or _wrong_time(expect, seen, margin_s)
        or _wrong_facts(expect, seen)
    )


def _wrong_answer(expect: Expect, seen: Seen) -> str:
    if expect.answered is False and seen.answer:
        return f"answers {seen.answer} {seen.code}".rstrip() + ", where no response was expected"
    if not expect.codes and not expect.answered:
        return ""
    if not seen.answer:
        how = "closes" if seen.closed_s is not None else "stays silent"
        return f"does not answer {seen.request}, but {' and '.join((*seen.unread, how))}"
    if seen.answer != seen.request.removesuffix("Req") + "Res":
        return f"answers {seen.request} with {seen.answer}"
    if expect.codes and not any(fnmatchcase(seen.code, each) for each in expect.codes):
        return f"answers {seen.code}, expected {' or '.join(expect.codes)}"
    return ""


def _wrong_end(expect: Expect, seen: Seen, margin_s: float) -> str:
    if expect.closes is True and seen.closed_s is None:
        answered = f"answers {seen.code or 'nothing'}, but " if seen.request else ""
        return f"{answered}does not close within {CLOSING_S:g} s"
    if expect.closes is False and seen.closed_s is not None:
        return f"closes after {seen.closed_s:.1f} s, but had to continue"
    if expect.within is not None:
        least, most = expect.within
        if seen.closed_s is None:
            return f"does not end within {most:g} s"
        if not least - margin_s <= seen.closed_s <= most + margin_s:
            return f"ends after {seen.closed_s:.2f} s, expected {least:g} to {most:g} s"
    return ""


def _longest(request: str, seen: Seen) -> float | None:
    return max((seconds for name, seconds in seen.times if name == request), default=None)


def _took(expect: Expect, seen: Seen) -> str:
    """Return the measured response times, or nothing."""
    longest = _longest(expect.timely[0], seen) if expect.timely is not None else None
    return f"{expect.timely[0]} took {longest:.3f} s" if expect.timely and longest is not None else ""


def _wrong_time(expect: Expect, seen: Seen, margin_s: float = MEASURING_S) -> str:
    if expect.timely is None:
        return ""
    request, most = expect.timely
    longest = _longest(request, seen)
    if longest is None:
        return "" if not seen.reached else f"{request} was not sent"
    return f"{request} took {longest:.3f} s, at most {most:g} s are allowed" if longest > most + margin_s else ""


def _listed(facts: Iterable[str]) -> str:
    """Return facts, each once, and of many only the first: a loop repeats a fault with other numbers."""
    once = list(dict.fromkeys(facts))
    more = [f"and {len(once) - MOST_FACTS} more"] if len(once) > MOST_FACTS else []
    return ", ".join((*once[:MOST_FACTS], *more))


def _wrong_facts(expect: Expect, seen: Seen) -> str:
    for each in expect.facts:
        if not fnmatch.filter(seen.facts, each):
            return f"not seen: {each}" + (f"; seen: {', '.join(seen.facts)}" if seen.facts else "")
    for fact in seen.facts:  # the first is the cause of others
        if each := next((each for each in expect.no_facts if fnmatchcase(fact, each)), ""):
            return _listed(seen.facts if each == "asks on" else fnmatch.filter(seen.facts, each))
    if expect.state_b and seen.pilot_c and "shows state B" not in seen.facts:
        return "does not show state B"
    return ""
