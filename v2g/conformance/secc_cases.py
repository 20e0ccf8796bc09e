"""What a charger is tested in, made of the sequence charts, the performance times and the response codes."""

from collections.abc import Iterator, Mapping
from typing import Final

from v2g.conformance.case import Ask, Case, Expect, Malformed, Nothing, Script, Silence
from v2g.conformance.malformed import FORMS
from v2g.conformance.requests import REQUESTS
from v2g.conformance.routes import reachable
from v2g.conformance.secc_probes import probes
from v2g.iso15118.charts import CHARTS, LOOPS, Family
from v2g.iso15118.sequence import Asks, Edges, State
from v2g.iso15118.timing import MESSAGES, Timing

_CHART_OPEN: Final = "the order of these messages follows from their schema alone"
_ORDER_OPEN: Final = "sources disagree on where this message may come"
_BEGUN: Final = "what a charger says before a message set is negotiated is not public"
_UNREADABLE: Final = "what answers bytes that cannot be read is not public; that the charger serves the next is certain"

_ENERGY: Final = (Family.AC, Family.DC)
_REFUSED: Final = ("FAILED*",)
_OK: Final = ("OK*",)
_FAMILY_SPECIFIC: Final = ("AC_", "DC_", "WPT_", "ACDP_")
_DEBATED: Final = frozenset(
    {"VehicleCheckInReq", "VehicleCheckOutReq", "MeteringConfirmationReq", "SupportedAppProtocolReq"}
)


def secc_cases(family: Family) -> tuple[Case, ...]:
    """Return every case for a charger that speaks this set of messages, in the order in which they are run."""
    parts = (probes, _handshake, _sessions, _whole, _timing, _authorization, _services, _parameters, _endings)
    found = [case for part in parts for case in part(family)]
    found += [*_sequence(family), *_other_session(family), *_silence(family), *_malformed(family)]
    return tuple(found)


def _ask(goal: State, request: str, change: str = "", **expect: object) -> Script:
    return Script(goal=goal, do=Ask(request, change), expect=Expect(**expect))  # type: ignore[arg-type]


# -- order --------------------------------------------------------------------------------------------------------


def _sequence(family: Family) -> Iterator[Case]:
    """Every request that is out of order in every state: FAILED_SequenceError, and the end."""
    chart = CHARTS[family]
    for state in reachable(chart):
        if state in (State.PAUSED, State.ENDED):
            continue
        for n, request in enumerate(_out_of_order(chart[state], family)):
            # The handshake has a word of its own.
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
    others = tuple(each for each in _FAMILY_SPECIFIC if not each.startswith(family.value))
    others = ("AC_", "WPT_") if family is Family.ACDP else others
    for request in sorted(REQUESTS, key=_prominence):
        if request.startswith(others) or request in ("CertificateInstallationReq", "ACDP_SystemStatusReq"):
            continue
        edges = ways.get(request, ())
        if not edges or (request == "PowerDeliveryReq" and not any(each.asks is Asks.START for each in edges)):
            yield request


def _prominence(request: str) -> tuple[bool, bool, str]:
    """Sort the requests about which there is no doubt first, those that ask for energy before all."""
    return (request in _DEBATED, request != "PowerDeliveryReq", request)


def _why_open(family: Family, state: State, request: str) -> str:
    if family not in _ENERGY or state is State.STANDBY:
        return _CHART_OPEN
    if state is State.SUPPORTED_APP_PROTOCOL:
        return _BEGUN
    # There are chargers that are in the loop before the vehicle has its last answer to PowerDeliveryReq(Start).
    again = request == "PowerDeliveryReq" and state in LOOPS
    return _ORDER_OPEN if again or request in _DEBATED else ""


def _other_session(family: Family) -> Iterator[Case]:
    """A request of a session that is not this one, wherever there is a session."""
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
            open="" if family in _ENERGY and state is not State.STANDBY else _CHART_OPEN,
            family=family,
            quick=n % 5 == 2,
            scripts=(_ask(state, request, "other session", codes=("FAILED_UnknownSession",), closes=True),),
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
    yield case("known", "A protocol that the charger speaks", "agreed on", ("V2G20-169",), "", Expect(codes=agreed))
    yield case(
        "unknown",
        "Only a protocol that nobody speaks",
        "Failed_NoNegotiation",
        ("V2G20-169",),
        "unknown protocol",
        none,
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
        "unknown-first", "A protocol that nobody speaks before one that the charger does", "the SchemaID of the latter",
        ("V2G20-169",), "unknown protocol first", seventh,
    )  # fmt: skip
    yield case(
        "priority", "The best priority stands last in the list", "the SchemaID with the best priority",
        ("V2G20-167", "V2G20-169"), "best priority last", seventh,
    )  # fmt: skip
    yield case(
        "twenty", "Twenty protocols, one of which the charger speaks", "the SchemaID of that one",
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
        title="Two new sessions, one after the other",
        required="OK_NewSessionEstablished with a SessionID that is not zero, each time another",
        requirements=("V2G20-2106", "V2G20-2621"),
        family=family,
        scripts=(setup, setup),
    )
    yield Case(
        id=f"SECC-SES-{family.value}-stranger",
        title="A SessionID that the charger has never given",
        required="OK_NewSessionEstablished with a SessionID of the charger's own",
        requirements=("V2G20-2626", "V2G20-2627"),
        family=family,
        scripts=(Script(goal=State.SESSION_SETUP, do=Ask("SessionSetupReq", "other session"), expect=new),),
    )


def _whole(family: Family) -> Iterator[Case]:
    """Whole sessions by the book, in each control mode and direction."""
    for scheduled in (False, True):
        for bidirectional in (False, True):
            if bidirectional and family is Family.WPT:
                continue
            mode = "scheduled" if scheduled else "dynamic"
            ways = f"{mode}{'-bpt' if bidirectional else ''}"
            yield Case(
                id=f"SECC-RUN-{family.value}-{ways}",
                title=f"A whole session, {mode}{', in both directions' if bidirectional else ''}",
                required="every request is answered OK in its own response, to the end",
                requirements=("V2G20-2656", "V2G20-1600"),
                open="" if family in _ENERGY else _CHART_OPEN,
                family=family,
                quick=not bidirectional,
                scripts=(
                    Script(
                        goal=State.ENDED,
                        expect=Expect(reaches=True, no_facts=("answers with another SessionID",)),
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
            title=f"How soon {request} is answered",
            required=f"within {most:g} s",
            requirements=("Tables 215 to 218",),
            open="" if family in _ENERGY else _CHART_OPEN,
            family=family,
            scripts=(Script(goal=State.ENDED, expect=Expect(timely=(request, most))),),
        )


def _of_a_session(family: Family) -> Iterator[str]:
    """Return the requests of a whole session by the book, in the order of the chart."""
    seen: set[str] = set()
    for state in reachable(CHARTS[family]):
        for request in CHARTS[family][state]:
            if request not in seen and request in MESSAGES and request not in _ASIDE:
                seen.add(request)
                yield request


_ASIDE: Final = frozenset(
    {"VehicleCheckInReq", "VehicleCheckOutReq", "CertificateInstallationReq", "MeteringConfirmationReq"}
)


def _silence(family: Family) -> Iterator[Case]:
    """A vehicle that says nothing any more: the charger ends by itself, and not too early."""
    timing = Timing()
    for n, state in enumerate(reachable(CHARTS[family])):
        if state in (State.PAUSED, State.ENDED):
            continue
        looping = state in LOOPS
        least = timing.secc_sequence_loop if looping else timing.secc_sequence
        # Chargers in the field allow 60 s in the loop, too: there only the end is certain.
        span = (least, timing.secc_sequence + 1.0) if looping else (least, least + 1.0)
        yield Case(
            id=f"SECC-SIL-{family.value}-{state.value}",
            title=f"The vehicle falls silent in {state.value}",
            required=f"the charger ends the session by itself, not before {least:g} s"
            + (" (when exactly is disputed)" if looping else ""),
            requirements=("V2G20-441", "V2G20-443", *(("V2G20-1500", "V2G20-1502") if looping else ())),
            open="" if family in _ENERGY and state is not State.STANDBY else _CHART_OPEN,
            family=family,
            quick=n == 2 or looping,
            scripts=(Script(goal=state, do=Silence(span[1] + 1.0), expect=Expect(within=span)),),
        )


def _malformed(family: Family) -> Iterator[Case]:
    """Bytes that are no message. Whatever becomes of them, the charger serves the next vehicle."""
    alive = Script(goal=State.SESSION_SETUP, expect=Expect(reaches=True))
    places = (State.SESSION_SETUP, State.SERVICE_DISCOVERY, _loop(family))
    for n, state in enumerate(places):
        for form in FORMS:
            cut = form in ("byte by byte", "cut within the header")
            expect = Expect(codes=_OK, closes=False) if cut else Expect(open=True)
            yield Case(
                id=f"SECC-GTP-{family.value}-{state.value}-{form.replace(' ', '_').replace(chr(39), '')}",
                title=f"V2GTP: {form}, in {state.value}",
                required="the request is answered, however the network cuts it" if cut else "the next session begins",
                requirements=() if cut else ("clause 8.6",),
                open="" if cut else _UNREADABLE,
                family=family,
                quick=n == 1,
                scripts=(Script(goal=state, do=Malformed(form), expect=expect), alive),
            )


def _loop(family: Family) -> State:
    return next(state for state in CHARTS[family] if state in LOOPS)


# -- what is asked for --------------------------------------------------------------------------------------------


def _authorization(family: Family) -> Iterator[Case]:
    def case(
        name: str, title: str, ids: tuple[str, ...], script: Script, *more: Script, why: str = "", quick: bool = True
    ) -> Case:
        codes = " or ".join((more[-1] if more else script).expect.codes)
        return Case(
            id=f"SECC-AUT-{family.value}-{name}",
            title=title,
            required=codes,
            requirements=ids,
            open=why,
            family=family,
            quick=quick,
            scripts=(script, *more),
        )

    def pay(change: str, *codes: str, contract: str = "good", closes: bool | None = None) -> Script:
        return Script(
            goal=State.AUTHORIZATION,
            do=Ask("AuthorizationReq", change),
            expect=Expect(codes=codes, closes=closes),
            pay=f"PnC {contract}",
        )

    clean = (
        "gives the authorization mode of a way that it does not offer",
        "gives a challenge that it has given before",
        "gives a challenge of zeros",
    )
    fresh = Script(goal=State.AUTHORIZATION, expect=Expect(reaches=True, no_facts=clean))
    yield Case(
        id=f"SECC-AUT-{family.value}-modes",
        title="The ways of authorization on offer, in two sessions",
        required="PnC comes with a challenge that is new each time, EIM alone without one",
        requirements=("V2G20-1219", "V2G20-1220", "V2G20-697", "V2G20-2108"),
        family=family,
        scripts=(fresh, fresh),
    )
    yield case("contract", "A contract that is good", (), pay("", "OK*"))
    yield case(
        "challenge", "A challenge that is not the charger's", ("V2G20-2565", "V2G20-2216"),
        pay("wrong challenge", "WARNING_ChallengeInvalid"),
    )  # fmt: skip
    yield case(
        "challenge-reused", "The challenge of the session before", ("V2G20-697", "V2G20-2110", "V2G20-2608"),
        Script(goal=State.AUTHORIZATION, pay="PnC", expect=Expect()),
        pay("challenge of an earlier session", "WARNING_ChallengeInvalid"),
    )  # fmt: skip
    for change in ("broken signature", "no signature"):
        yield case(
            change.replace(" ", "-"), f"A contract with {change}", ("V2G20-461",),
            pay(change, "FAILED_SignatureError", closes=True),
        )  # fmt: skip
    for contract, codes, ids in (
        ("expired", ("WARNING_CertificateExpired",), ()),
        ("not-yet-valid", ("WARNING_CertificateNotYetValid",), ()),
        ("expires-soon", ("OK_CertificateExpiresSoon",), ("V2G20-2218",)),
    ):
        yield case(
            contract, f"A contract that is {contract.replace('-', ' ')}", ids, pay("", *codes, contract=contract)
        )
    yield case(
        "unknown-root", "A contract under a root that nobody knows", (),
        pay("", "WARNING_eMSPUnknown", "WARNING_CertificateValidationError", contract="unknown-root"),
        why="a charger may leave roots that it does not know to its back end",
    )  # fmt: skip
    yield case(
        "forged", "A contract that its CA has not signed", (),
        pay("", "WARNING_CertificateValidationError", "WARNING_eMSPUnknown", "FAILED*", contract="forged"),
    )  # fmt: skip
    yield case(
        "method", "A way of authorization that is not offered", ("V2G20-2209", "V2G20-2226"),
        _ask(State.AUTHORIZATION, "AuthorizationReq", "method not offered",
             codes=("WARNING_AuthorizationSelectionInvalid",)),
    )  # fmt: skip


def _services(family: Family) -> Iterator[Case]:
    rows = (
        ("detail", "ServiceDetailReq for a service that is not offered", State.SERVICE_DETAIL, "ServiceDetailReq",
         "unknown service", ("FAILED_ServiceIDInvalid",), ("V2G20-425", "V2G20-464")),
        ("selection", "An energy service that is not offered", State.SERVICE_SELECTION, "ServiceSelectionReq",
         "unknown selection", ("FAILED_ServiceSelectionInvalid", "FAILED_NoEnergyTransferServiceSelected"),
         ("V2G20-433", "V2G20-467", "V2G20-1618")),
        ("set", "A parameter set that is not offered", State.SERVICE_SELECTION, "ServiceSelectionReq",
         "unknown parameter set", ("FAILED_ServiceSelectionInvalid",), ("V2G20-433", "V2G20-467")),
        ("added", "A value-added service that is not offered", State.SERVICE_SELECTION, "ServiceSelectionReq",
         "unknown added service", ("FAILED_ServiceSelectionInvalid",), ("V2G20-433", "V2G20-467")),
    )  # fmt: skip
    for name, title, goal, request, change, codes, ids in rows:
        yield Case(
            id=f"SECC-SVC-{family.value}-{name}",
            title=title,
            required=f"{' or '.join(codes)}, then the end of the session",
            requirements=ids,
            family=family,
            scripts=(_ask(goal, request, change, codes=codes, closes=True),),
        )


def _parameters(family: Family) -> Iterator[Case]:
    if family not in _ENERGY:
        return
    parameters = next(state for state in CHARTS[family] if state.name == f"{family.value}_CHARGE_PARAMETER_DISCOVERY")
    asked = f"{family.value}_ChargeParameterDiscoveryReq"
    wrong = ("FAILED_WrongChargeParameter",)
    number = ("V2G20-1619",) if family is Family.AC else ("V2G20-2272",)

    def case(name: str, title: str, ids: tuple[str, ...], why: str = "", **script: object) -> Case:
        made = Script(**script)  # type: ignore[arg-type]
        return Case(
            id=f"SECC-PAR-{family.value}-{name}",
            title=title,
            required=f"{' or '.join(made.expect.codes)}, then the end of the session",
            requirements=ids,
            open=why,
            family=family,
            scripts=(made,),
        )

    for bidirectional in (False, True):
        yield case(
            f"direction{'-bpt' if bidirectional else ''}",
            f"Limits of a vehicle that {'only charges' if bidirectional else 'feeds back'}, and the other service",
            number, goal=parameters, do=Ask(asked, "other direction"), bidirectional=bidirectional,
            expect=Expect(codes=wrong, closes=True),
        )  # fmt: skip
    why = "which limits are impossible is not public in full"
    changes = {"least": "least above most"} | ({"voltage": "voltage out of reach"} if family is Family.DC else {})
    for name, change in changes.items():
        yield case(
            name, f"Limits that are impossible: {change}", number, why, goal=parameters, do=Ask(asked, change),
            expect=Expect(codes=wrong, closes=True),
        )  # fmt: skip
    for scheduled in (False, True):
        mode = "scheduled" if scheduled else "dynamic"
        other = "dynamic" if scheduled else "scheduled"
        yield case(
            f"needs-{mode}", f"Needs of the {other} mode, and the {mode} one selected", ("V2G20-1600",),
            goal=State.SCHEDULE_EXCHANGE, do=Ask("ScheduleExchangeReq", "other control mode"), scheduled=scheduled,
            expect=Expect(codes=_REFUSED, closes=True),
        )  # fmt: skip
        yield case(
            f"loop-{mode}", f"A loop of the {other} mode, and the {mode} one selected", ("V2G20-1600",),
            goal=_loop(family), do=Ask(f"{family.value}_ChargeLoopReq", "other loop mode"), scheduled=scheduled,
            expect=Expect(codes=_REFUSED, closes=True),
        )  # fmt: skip
    yield case(
        "schedule", "A schedule that was not offered", (), goal=State.POWER_DELIVERY, scheduled=True,
        do=Ask("PowerDeliveryReq", "unknown schedule"),
        expect=Expect(codes=("FAILED_ScheduleSelectionInvalid",), closes=True),
    )  # fmt: skip
    yield case(
        "profile", "A power profile above the schedule", ("V2G20-1864",), "when a profile is too much is not public",
        goal=State.POWER_DELIVERY, scheduled=True, do=Ask("PowerDeliveryReq", "profile above the schedule"),
        expect=Expect(codes=("FAILED_EVPowerProfileInvalid", "FAILED_EVPowerProfileViolation"), closes=True),
    )  # fmt: skip


def _endings(family: Family) -> Iterator[Case]:
    open_ = "" if family in _ENERGY else _CHART_OPEN
    yield Case(
        id=f"SECC-END-{family.value}-terminate",
        title="The vehicle does not close after SessionStopRes",
        required="the charger closes by itself within 5 s",
        requirements=("V2G20-1633", "V2G20-1643"),
        open=open_,
        family=family,
        scripts=(
            Script(goal=State.ENDED, do=Nothing(), expect=Expect(closes=True, within=(0.0, Timing().close + 1.0))),
        ),
    )
    yield Case(
        id=f"SECC-END-{family.value}-renegotiate",
        title="Services are to be renegotiated where that is not supported",
        required="FAILED_NoServiceRenegotiationSupported, then the end of the session",
        requirements=("V2G20-1477",),
        open=open_,
        family=family,
        scripts=(
            _ask(
                State.SESSION_STOP, "SessionStopReq", "renegotiate services",
                codes=("FAILED_NoServiceRenegotiationSupported",), closes=True,
            ),
        ),
    )  # fmt: skip
    pause = _ask(State.SESSION_STOP, "SessionStopReq", "pause", codes=("OK", "FAILED_PauseNotAllowed"))
    for name, identity, codes, ids in (
        ("pause-same", "vehicle", ("OK_OldSessionJoined",), ("V2G20-2545", "V2G20-1032")),
        ("pause-other", "other-vehicle", ("OK_NewSessionEstablished",), ("V2G20-2545", "V2G20-2626", "V2G20-2627")),
    ):
        again = Script(
            goal=State.SESSION_SETUP, do=Ask("SessionSetupReq"), expect=Expect(codes=codes), identity=identity,
            resume=True,
        )  # fmt: skip
        which = "the same" if identity == "vehicle" else "another"
        yield Case(
            id=f"SECC-END-{family.value}-{name}",
            title=f"A session is paused, and resumed with {which} certificate",
            required=codes[0],
            requirements=ids,
            open=open_,
            family=family,
            scripts=(pause, again),
        )
