"""Cases for chargers about the contents of requests: authorization, services, parameters."""

from collections.abc import Iterator
from typing import Final

from v2g.iso15118.d20.charts import CHARTS, LOOPS, Family
from v2g.iso15118.d20.timing import Timing
from v2g.iso15118.engine.sequence import State
from v2g_testkit.cases.case import Ask, Case, Expect, Script
from v2g_testkit.cases.scripted_vehicle import UNFINISHED

ENERGY: Final = (Family.AC, Family.DC)
"""Message sets with an undisputed order."""

CHALLENGED: Final = "gives a challenge that it has given before"
"""Fact about a charger whose challenges can be answered with a signature of an earlier session."""

_REFUSED: Final = ("FAILED*",)


def contents(family: Family) -> Iterator[Case]:
    """Return the cases in which one request has invalid contents."""
    for part in (_authorization, _services, _parameters):
        yield from part(family)


def ask(goal: State, request: str, change: str = "", **expect: object) -> Script:
    """Return a script that ends with one request; `expect` are the fields of Expect."""
    return Script(goal=goal, do=Ask(request, change), expect=Expect(**expect))  # type: ignore[arg-type]


def loop_of(family: Family) -> State:
    """Return the state of the charge loop."""
    return next(state for state in CHARTS[family] if state in LOOPS)


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
            do=Ask("AuthorizationReq", change, Timing().ongoing),  # a back end may have to decide
            expect=Expect(codes=codes, closes=closes, no_facts=(UNFINISHED,)),
            pay=f"PnC {contract}",
        )

    clean = (
        "gives the authorization mode of a way that it does not offer",
        CHALLENGED,
        "gives a challenge of zeros",
    )
    fresh = Script(goal=State.AUTHORIZATION, expect=Expect(reaches=True, no_facts=clean))
    yield Case(
        id=f"SECC-AUT-{family.value}-modes",
        title="The authorization methods offered, in two sessions",
        required="PnC has a new challenge each time, EIM alone has none",
        requirements=("V2G20-1219", "V2G20-1220", "V2G20-697", "V2G20-2608"),
        family=family,
        scripts=(fresh, fresh),
    )
    yield case("contract", "A valid contract", (), pay("", "OK*"))
    yield case(
        "challenge", "A challenge that is not the charger's", ("V2G20-2565", "V2G20-2216"),
        pay("wrong challenge", "WARNING_ChallengeInvalid"),
    )  # fmt: skip
    yield case(
        "challenge-reused", "The challenge of the previous session", ("V2G20-2608",),
        Script(goal=State.AUTHORIZATION, pay="PnC", expect=Expect()),
        pay("challenge of an earlier session", "WARNING_ChallengeInvalid"),
    )  # fmt: skip
    for change in ("broken signature", "no signature"):
        yield case(
            change.replace(" ", "-"), f"Authorization by contract: {change}", ("V2G20-461",),
            pay(change, "FAILED_SignatureError", closes=True),
        )  # fmt: skip
    for contract, title, code, ids in (
        ("expired", "An expired contract", "WARNING_CertificateExpired", ()),
        ("not-yet-valid", "A contract that is not valid yet", "WARNING_CertificateNotYetValid", ()),
        ("expires-soon", "A contract that expires soon", "OK_CertificateExpiresSoon", ("V2G20-2218",)),
    ):
        yield case(contract, title, ids, pay("", code, contract=contract))
    yield case(
        "unknown-root", "A contract under an unknown root", (),
        pay("", "WARNING_eMSPUnknown", "WARNING_CertificateValidationError", contract="unknown-root"),
        why="a charger may leave unknown roots to its back end",
    )  # fmt: skip
    yield case(
        "forged", "A contract not signed by its CA", (),
        pay("", "WARNING_CertificateValidationError", "WARNING_eMSPUnknown", "FAILED*", contract="forged"),
    )  # fmt: skip
    yield case(
        "method", "An authorization method that is not offered", ("V2G20-2209", "V2G20-2226"),
        ask(State.AUTHORIZATION, "AuthorizationReq", "method not offered",
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
            scripts=(ask(goal, request, change, codes=codes, closes=True),),
        )


def _parameters(family: Family) -> Iterator[Case]:
    if family not in ENERGY:
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
            f"Limits of a {('bidirectional', 'charging-only')[bidirectional]} vehicle, but the other service selected",
            number, goal=parameters, do=Ask(asked, "other direction"), bidirectional=bidirectional,
            expect=Expect(codes=wrong, closes=True),
        )  # fmt: skip
    why = "which limits are impossible is not fully public"
    changes = [("least", "least above most", "minimum above maximum")]
    if family is Family.DC:
        changes.append(("voltage", "voltage out of reach", "voltage out of range"))
    for name, change, title in changes:
        yield case(
            name, f"Impossible limits: {title}", number, why, goal=parameters, do=Ask(asked, change),
            expect=Expect(codes=wrong, closes=True),
        )  # fmt: skip
    for scheduled in (False, True):
        mode = "scheduled" if scheduled else "dynamic"
        other = "dynamic" if scheduled else "scheduled"
        yield case(
            f"needs-{mode}", f"Needs of the {other} mode, but the {mode} mode selected", ("V2G20-1600",),
            goal=State.SCHEDULE_EXCHANGE, do=Ask("ScheduleExchangeReq", "other control mode"), scheduled=scheduled,
            expect=Expect(codes=_REFUSED, closes=True),
        )  # fmt: skip
        yield case(
            f"loop-{mode}", f"A loop of the {other} mode, but the {mode} mode selected", ("V2G20-1600",),
            goal=loop_of(family), do=Ask(f"{family.value}_ChargeLoopReq", "other loop mode"), scheduled=scheduled,
            expect=Expect(codes=_REFUSED, closes=True),
        )  # fmt: skip
    yield case(
        "schedule", "A schedule that was not offered", (), goal=State.POWER_DELIVERY, scheduled=True,
        do=Ask("PowerDeliveryReq", "unknown schedule"),
        expect=Expect(codes=("FAILED_ScheduleSelectionInvalid",), closes=True),
    )  # fmt: skip
    yield case(
        "profile", "A power profile above the schedule", ("V2G20-1864",), "when a profile is too high is not public",
        goal=State.POWER_DELIVERY, scheduled=True, do=Ask("PowerDeliveryReq", "profile above the schedule"),
        expect=Expect(codes=("FAILED_EVPowerProfileInvalid", "FAILED_EVPowerProfileViolation"), closes=True),
    )  # fmt: skip
