"""Cases for chargers of ISO 15118-20, derived from the sequence charts, the performance times and the response codes.

Cases about the content of requests are in `secc_contents`, those before a session in `secc_probes`; those about
unrequested power, as observed in responses and meter, are here.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from msgspec.structs import replace

from v2g.iso15118.d20.charts import CHARTS, LOOPS, PARALLEL, Family
from v2g.iso15118.d20.timing import MESSAGES, Timing
from v2g.iso15118.engine.sequence import Asks, Edges, State
from v2g_testkit.cases import der
from v2g_testkit.cases.case import WRONG, Ask, Case, Detour, Expect, Malformed, Nothing, Script, Silence
from v2g_testkit.cases.malformed import FORMS
from v2g_testkit.cases.published import repeated
from v2g_testkit.cases.requests import REQUESTS
from v2g_testkit.cases.scripted_vehicle import ASIDE, DEAD_V, DISCHARGED_S, RESTING, UNFINISHED, reachable
from v2g_testkit.cases.secc_contents import ENERGY, ask, contents, loop_of
from v2g_testkit.cases.secc_installation import installation
from v2g_testkit.cases.secc_probes import probes
from v2g_testkit.cases.secc_side_streams import side_streams

REST_S: Final = 20.0
"""Time without requests between two meter readings, and of the preceding energy transfer, s."""

_POWERED: Final = PARALLEL | {
    State.WPT_ALIGNMENT_CHECK,
    State.DC_CABLE_CHECK,
    State.DC_CABLE_CHECK_ONGOING,
    State.DC_PRE_CHARGE,
    State.DC_PRE_CHARGE_ONGOING,
    State.POWER_DELIVERY,
    State.DC_WELDING_DETECTION,
}
"""States with a voltage, a field or a closed contactor, or before these."""

_UNASKED: Final = ("energy flows without a request*",)
_STOP_OPEN: Final = "chargers differ in where they accept SessionStopReq; only continuing is a fault"
_OPEN: Final = {
    "schedules-anew": "whether energy may flow while a schedule is renegotiated is not public",
    "notice-ignored": "how soon a charger removes power from a vehicle that ignores it is not public",
}


def safety(family: Family) -> Iterator[Case]:
    """Return the cases of one message set."""
    for part in (_stops, _energy, _pre_charge, _welding, _operator):
        yield from part(family)


def _case(family: Family, name: str, title: str, required: str, ids: tuple[str, ...], *, why: str = "",
          quick: bool = True, **script: object) -> Case:  # fmt: skip
    return Case(
        id=f"SECC-SAF-{family.value}-{name}",
        title=title,
        required=required,
        requirements=ids,
        open=why or ("" if family in ENERGY else _CHART_OPEN),
        family=family,
        quick=quick,
        scripts=(Script(**script),),  # type: ignore[arg-type]
    )


def _stops(family: Family) -> Iterator[Case]:
    """SessionStopReq after requests for power: the session ends, or returns to its services; nothing else continues."""
    loop, after = loop_of(family), State.SERVICE_DISCOVERY
    for state in reachable(CHARTS[family]):
        if state not in _POWERED:
            continue
        why = _STOP_OPEN if state in RESTING else ""
        for change, name in (("", "terminate"), ("pause", "pause")):
            yield _case(
                family, f"{name}-{state.value}", f"SessionStopReq ({name.title()}) in {state.value}",
                "a response, then the end", ("V2G20-1632", "V2G20-1633"), why=why, quick=state is loop, goal=state,
                do=Ask("SessionStopReq", change), expect=Expect(codes=("OK", "FAILED*"), closes=True),
            )  # fmt: skip
        yield _case(
            family, f"services-anew-{state.value}",
            f"SessionStopReq (ServiceRenegotiation) in {state.value}, then PowerDeliveryReq regardless",
            "FAILED_SequenceError, then the end: the agreement no longer applies", ("V2G20-459", "V2G20-1477"), why=why,
            quick=state is loop, goal=after, do=Ask("PowerDeliveryReq"),
            detour=Detour(at=state, request="SessionStopReq", asks=Asks.SERVICE_RENEGOTIATION),
            expect=Expect(codes=("FAILED_SequenceError",), closes=True),
        )  # fmt: skip


def _energy(family: Family) -> Iterator[Case]:
    """The meter's count while no charge loop runs."""
    rows = (
        ("services-anew", "SessionStopReq", Asks.SERVICE_RENEGOTIATION, "services are renegotiated"),
        ("schedules-anew", "PowerDeliveryReq", Asks.RENEGOTIATION, "schedules are renegotiated"),
        ("standby", "PowerDeliveryReq", Asks.STANDBY, "the vehicle is in standby"),
    )
    loop = loop_of(family)
    for name, request, asks, what in rows:
        if asks is Asks.RENEGOTIATION and family is Family.AC:
            continue  # the vehicle goes on by its present schedule, as no response asks for less
        yield _case(
            family, f"energy-{name}", f"The meter before and after {REST_S:g} s in which {what}",
            "no more energy than the charger takes to stop", (), why=_OPEN.get(name, ""), goal=loop,
            detour=Detour(at=loop, request=request, asks=asks, before_s=REST_S, rest_s=REST_S),
            expect=Expect(no_facts=(*_UNASKED, f"{WRONG}*")),
        )  # fmt: skip


def _pre_charge(family: Family) -> Iterator[Case]:
    if State.DC_PRE_CHARGE not in CHARTS[family]:
        return
    for name, change, title in (
        ("pre-charge-zero", "no voltage", "A pre-charge to 0 V that the vehicle takes as finished"),
        ("pre-charge-unreached", "voltage above all", "A pre-charge above the charger's maximum, taken as finished"),
    ):
        yield _case(
            family, name, f"{title}, then PowerDeliveryReq (Start)", "FAILED*, then the end: no contactor is closed",
            ("V2G20-2005",), goal=State.POWER_DELIVERY, do=Ask("PowerDeliveryReq"),
            detour=Detour(at=State.DC_PRE_CHARGE, request="DC_PreChargeReq", change=change),
            expect=Expect(codes=("FAILED*",), closes=True),
        )  # fmt: skip


def _welding(family: Family) -> Iterator[Case]:
    state = State.DC_WELDING_DETECTION
    if state not in CHARTS[family]:
        return
    yield _case(
        family, "welding", "The voltage at the output in the welding detection",
        f"OK, and below {DEAD_V:g} V within {DISCHARGED_S:g} s", (), goal=state,
        do=Ask("DC_WeldingDetectionReq", "still detecting", DISCHARGED_S),
        expect=Expect(codes=("OK*",), no_facts=(f"{WRONG}*", UNFINISHED)),
    )  # fmt: skip


def _operator(family: Family) -> Iterator[Case]:
    """The operator stops the session (--stop); the vehicle tries to continue."""
    loop = loop_of(family)
    stopped = Detour(at=loop)
    for change, name, what in (("services anew", "services", "other services"), ("pause", "pause", "a pause")):
        yield _case(
            family, f"stop-then-{name}",
            f"The operator stops the session, and the vehicle requests {what} in SessionStopReq",
            "FAILED*, then the end: only Terminate is still allowed", ("V2G20-1477",), goal=State.SESSION_STOP,
            do=Ask("SessionStopReq", change), detour=stopped,
            expect=Expect(codes=("FAILED*",), closes=True, no_facts=("gives no notice*",)),
        )  # fmt: skip
    yield _case(
        family, "notice-ignored", f"The operator stops the session; the vehicle continues the loop for {REST_S:g} s",
        "no more energy than the charger takes to stop", (), why=_OPEN["notice-ignored"], goal=State.SESSION_STOP,
        detour=Detour(at=loop, before_s=REST_S, rest_s=REST_S),
        expect=Expect(no_facts=("gives no notice*", *_UNASKED)),
    )  # fmt: skip


_CHART_OPEN: Final = "the order of these messages follows from their schema alone"
_ORDER_OPEN: Final = "sources disagree on where this message is allowed"
_BEGUN: Final = "the charger's response before a message set is negotiated is not public"
_UNREADABLE: Final = "the response to undecodable bytes is not public; only that the next vehicle must be served"

_OK: Final = ("OK*",)
_FAMILY_SPECIFIC: Final = ("AC_", "DC_", "WPT_", "ACDP_")
_DEBATED: Final = frozenset(
    {"VehicleCheckInReq", "VehicleCheckOutReq", "MeteringConfirmationReq", "SupportedAppProtocolReq"}
)


def secc_cases(family: Family) -> tuple[Case, ...]:
    """Return every case for a charger with this message set, in the order of execution."""
    parts = (
        probes,
        _handshake,
        _sessions,
        _whole,
        _timing,
        contents,
        installation,
        side_streams,
        safety,
        _endings,
        der.secc_cases,
    )
    found = [case for part in parts for case in part(family)]
    found += [*_sequence(family), *_other_session(family), *_silence(family), *_malformed(family)]
    return tuple(replace(case, published=repeated(case)) for case in found)


# -- order --------------------------------------------------------------------------------------------------------


def _sequence(family: Family) -> Iterator[Case]:
    """Every request that is out of order in every state: FAILED_SequenceError, and the end."""
    chart = CHARTS[family]
    for state in reachable(chart):
        if state in (State.PAUSED, State.ENDED):
            continue
        for n, request in enumerate(_out_of_order(chart[state], family)):
            # The handshake has its own code.
            code = "Failed_NoNegotiation" if request == "SupportedAppProtocolReq" else "FAILED_SequenceError"
            refused = Expect(codes=(code,), closes=True)
            yield Case(
                id=f"SECC-SEQ-{family.value}-{state.value}-{request}",
                title=f"{request} while the charger waits in {state.value}",
                required=f"{request[:-3]}Res with {code}, then the end of the session",
                requirements=("V2G20-459",),
                open=_why_open(family, state, request),
                family=family,
                quick=n == 0,
                scripts=(Script(goal=state, do=Ask(request), expect=refused),),
            )


def _out_of_order(ways: Mapping[str, Edges], family: Family) -> Iterator[str]:
    own = ("ACDP_", "DC_") if family is Family.ACDP else (f"{family.value}_",)
    others = tuple(each for each in _FAMILY_SPECIFIC if each not in own)
    for request in sorted(REQUESTS, key=_prominence):
        if request.startswith(others) or request in ("CertificateInstallationReq", "ACDP_SystemStatusReq"):
            continue
        edges = ways.get(request, ())
        if not edges or (request == "PowerDeliveryReq" and not any(each.asks is Asks.START for each in edges)):
            yield request


def _prominence(request: str) -> tuple[bool, bool, str]:
    """Sort undisputed requests first, starting with those for energy."""
    return (request in _DEBATED, request != "PowerDeliveryReq", request)


def _why_open(family: Family, state: State, request: str) -> str:
    if family not in ENERGY or state in RESTING:
        return _CHART_OPEN
    if state is State.SUPPORTED_APP_PROTOCOL:
        return _BEGUN
    # Some chargers are in the loop before the vehicle has its last answer to PowerDeliveryReq(Start).
    again = request == "PowerDeliveryReq" and state in LOOPS
    return _ORDER_OPEN if again or request in _DEBATED else ""


def _other_session(family: Family) -> Iterator[Case]:
    """A request with another session's id, in every state with a session."""
    chart = CHARTS[family]
    for n, state in enumerate(reachable(chart)):
        if state in (State.SUPPORTED_APP_PROTOCOL, State.SESSION_SETUP, State.PAUSED, State.ENDED):
            continue
        request = next(name for name in chart[state])
        yield Case(
            id=f"SECC-SID-{family.value}-{state.value}",
            title=f"{request} with another SessionID in {state.value}",
            required=f"{request[:-3]}Res with FAILED_UnknownSession, then the end of the session",
            requirements=("V2G20-460",),
            open="" if family in ENERGY and state not in RESTING else _CHART_OPEN,
            family=family,
            quick=n % 5 == 2,
            scripts=(ask(state, request, "other session", codes=("FAILED_UnknownSession",), closes=True),),
        )


# -- the handshake and the session --------------------------------------------------------------------------------


def _handshake(family: Family) -> Iterator[Case]:
    def case(name: str, title: str, required: str, ids: tuple[str, ...], change: str, expect: Expect) -> Case:
        script = Script(goal=State.SUPPORTED_APP_PROTOCOL, do=Ask("SupportedAppProtocolReq", change), expect=expect)
        return Case(
            id=f"SECC-SAP-{family.value}-{name}",
            title=title,
            required=required,
            requirements=ids,
            family=family,
            scripts=(script,),
        )

    agreed = ("OK_SuccessfulNegotiation",)
    none = Expect(codes=("Failed_NoNegotiation",))
    seventh = Expect(codes=agreed, facts=("SchemaID 7",))
    yield case("known", "A protocol that the charger supports", "agreement", ("V2G20-169",), "", Expect(codes=agreed))
    yield case(
        "unknown", "Only an unsupported protocol", "Failed_NoNegotiation", ("V2G20-169",), "unknown protocol", none
    )
    yield case(
        "major", "A major version that is not the charger's", "Failed_NoNegotiation", ("V2G20-149",),
        "other major version", none,
    )  # fmt: skip
    yield case(
        "minor", "A minor version that is not the charger's",
        "OK_SuccessfulNegotiationWithMinorDeviation", ("V2G20-149",), "other minor version",
        Expect(codes=("OK_SuccessfulNegotiationWithMinorDeviation",)),
    )  # fmt: skip
    yield case(
        "unknown-first", "An unsupported protocol before one that the charger supports", "the SchemaID of the latter",
        ("V2G20-169",), "unknown protocol first", seventh,
    )  # fmt: skip
    yield case(
        "priority", "The best priority is last in the list", "the SchemaID with the best priority",
        ("V2G20-167", "V2G20-169"), "best priority last", seventh,
    )  # fmt: skip
    yield case(
        "twenty", "Twenty protocols, one of which the charger supports", "the SchemaID of that one",
        ("V2G20-167",), "twenty protocols", seventh,
    )  # fmt: skip


def _sessions(family: Family) -> Iterator[Case]:
    new = Expect(
        codes=("OK_NewSessionEstablished",),
        no_facts=("gives a SessionID of zeros", "gives a SessionID that it has given before"),
    )
    setup = Script(goal=State.SESSION_SETUP, do=Ask("SessionSetupReq"), expect=new)
    yield Case(
        id=f"SECC-SES-{family.value}-new",
        title="Two new sessions in sequence",
        required="OK_NewSessionEstablished with a non-zero SessionID, different each time",
        requirements=("V2G20-2106", "V2G20-2621"),
        family=family,
        scripts=(setup, setup),
    )
    yield Case(
        id=f"SECC-SES-{family.value}-stranger",
        title="A SessionID that the charger has never issued",
        required="OK_NewSessionEstablished with a SessionID issued by the charger",
        requirements=("V2G20-2626", "V2G20-2627"),
        family=family,
        scripts=(Script(goal=State.SESSION_SETUP, do=Ask("SessionSetupReq", "other session"), expect=new),),
    )


def _whole(family: Family) -> Iterator[Case]:
    """Complete valid sessions, in each control mode and direction."""
    for scheduled in (False, True):
        for bidirectional in (False, True):
            if bidirectional and family is Family.WPT:
                continue
            mode = "scheduled" if scheduled else "dynamic"
            ways = f"{mode}{'-bpt' if bidirectional else ''}"
            yield Case(
                id=f"SECC-RUN-{family.value}-{ways}",
                title=f"A complete session, {mode}{', in both directions' if bidirectional else ''}",
                required="every request is answered by its response with OK, to the end",
                requirements=("V2G20-2656", "V2G20-1600"),
                open="" if family in ENERGY else _CHART_OPEN,
                family=family,
                quick=not bidirectional,
                scripts=(
                    Script(
                        goal=State.ENDED,
                        expect=Expect(reaches=True, no_facts=("answers with another SessionID", f"{WRONG}*")),
                        scheduled=scheduled,
                        bidirectional=bidirectional,
                    ),
                ),
            )


def _timing(family: Family) -> Iterator[Case]:
    """The performance time of each response of a whole session (Tables 215 to 218)."""
    for request in _of_a_session(family):
        most = MESSAGES[request].performance
        yield Case(
            id=f"SECC-TIM-{family.value}-{request}",
            title=f"Response time of {request}",
            required=f"within {most:g} s",
            requirements=("Tables 215 to 218",),
            open="" if family in ENERGY else _CHART_OPEN,
            family=family,
            scripts=(Script(goal=State.ENDED, expect=Expect(timely=(request, most))),),
        )


def _of_a_session(family: Family) -> Iterator[str]:
    """Return the requests of a complete valid session, in the order of the chart."""
    seen: set[str] = set()
    for state in reachable(CHARTS[family]):
        for request in CHARTS[family][state]:
            if request not in seen and request in MESSAGES and request not in ASIDE:
                seen.add(request)
                yield request


def _silence(family: Family) -> Iterator[Case]:
    """A vehicle that stops responding: the charger ends the session, but not too early."""
    timing = Timing()
    for n, state in enumerate(reachable(CHARTS[family])):
        if state in (State.PAUSED, State.ENDED):
            continue
        looping = state in LOOPS
        least = timing.secc_sequence_loop if looping else timing.secc_sequence
        # Chargers in the field allow 60 s in the loop, too: only the end is certain there.
        span = (least, timing.secc_sequence + 1.0) if looping else (least, least + 1.0)
        yield Case(
            id=f"SECC-SIL-{family.value}-{state.value}",
            title=f"The vehicle stops responding in {state.value}",
            required=f"the charger ends the session, not before {least:g} s"
            + (" (the exact time is disputed)" if looping else ""),
            requirements=("V2G20-441", "V2G20-443", *(("V2G20-1500", "V2G20-1502") if looping else ())),
            open="" if family in ENERGY and state not in RESTING else _CHART_OPEN,
            family=family,
            quick=n == 2 or looping,
            scripts=(Script(goal=state, do=Silence(span[1] + 1.0), expect=Expect(within=span)),),
        )


def _malformed(family: Family) -> Iterator[Case]:
    """Bytes that are not a message. In any case the charger must serve the next vehicle."""
    alive = Script(goal=State.SESSION_SETUP, expect=Expect(reaches=True))
    places = (State.SESSION_SETUP, State.SERVICE_DISCOVERY, loop_of(family))
    for n, state in enumerate(places):
        for form in FORMS:
            cut = form in ("byte by byte", "cut within the header")
            expect = Expect(codes=_OK, closes=False) if cut else Expect(open=True)
            yield Case(
                id=f"SECC-GTP-{family.value}-{state.value}-{form.replace(' ', '_').replace(chr(39), '')}",
                title=f"V2GTP: {form}, in {state.value}",
                required="the request is answered, however the network splits it" if cut else "the next session begins",
                requirements=() if cut else ("clause 8.6",),
                open="" if cut else _UNREADABLE,
                family=family,
                quick=n == 1,
                scripts=(Script(goal=state, do=Malformed(form), expect=expect), alive),
            )


# -- the end -------------------------------------------------------------------------------------------------------


def _endings(family: Family) -> Iterator[Case]:
    open_ = "" if family in ENERGY else _CHART_OPEN
    yield Case(
        id=f"SECC-END-{family.value}-terminate",
        title="The vehicle does not close after SessionStopRes",
        required="the charger closes the connection within 5 s",
        requirements=("V2G20-1633", "V2G20-1643"),
        open=open_,
        family=family,
        scripts=(
            Script(goal=State.ENDED, do=Nothing(), expect=Expect(closes=True, within=(0.0, Timing().close + 1.0))),
        ),
    )
    yield Case(
        id=f"SECC-END-{family.value}-renegotiate",
        title="Request to renegotiate services although not supported",
        required="FAILED_NoServiceRenegotiationSupported, then the end of the session",
        requirements=("V2G20-1477",),
        open=open_,
        family=family,
        scripts=(
            ask(
                State.SESSION_STOP, "SessionStopReq", "renegotiate services",
                codes=("FAILED_NoServiceRenegotiationSupported",), closes=True,
            ),
        ),
    )  # fmt: skip
    pause = ask(State.SESSION_STOP, "SessionStopReq", "pause", codes=("OK", "FAILED_PauseNotAllowed"))
    for name, identity, codes, ids in (
        ("pause-same", "vehicle", ("OK_OldSessionJoined",), ("V2G20-2545", "V2G20-1032")),
        ("pause-other", "other-vehicle", ("OK_NewSessionEstablished",), ("V2G20-2545", "V2G20-2626", "V2G20-2627")),
    ):
        again = Script(
            goal=State.SESSION_SETUP, do=Ask("SessionSetupReq"), expect=Expect(codes=codes), identity=identity,
            resume=True,
        )  # fmt: skip
        which = "the same" if identity == "vehicle" else "a different"
        yield Case(
            id=f"SECC-END-{family.value}-{name}",
            title=f"A session is paused, and resumed with {which} certificate",
            required=codes[0],
            requirements=ids,
            open=open_,
            family=family,
            scripts=(pause, again),
        )
