"""Cases for chargers about side streams: exchanges with payload types of their own, beside the main stream."""

from collections.abc import Iterator
from typing import Final

from v2g.iso15118.d20.charts import Family
from v2g.iso15118.engine.sequence import State
from v2g.iso15118.engine.v2gtp import PayloadType
from v2g.typed_json import Fields
from v2g_testkit.cases.case import Beside, Case, Expect, Script
from v2g_testkit.cases.scripted_vehicle import SERVES, UNFINISHED
from v2g_testkit.cases.secc_contents import loop_of

MEANWHILE: Final = "answers the main stream meanwhile"

_SIGNER: Final = "the signer of readings is not public"
_PLACE: Final = "where check-in and check-out are allowed is not public"
_UNREADABLE: Final = "the response to undecodable bytes is not public; only that the next vehicle must be served"
_CHART_OPEN: Final = "the order of these messages follows from their schema alone"
_FORMS: Final = ("no payload", "EXI cut off", "EXI of no message", "no EXI header")


def side_streams(family: Family) -> Iterator[Case]:
    """Return the cases of one message set. A charger that does not answer on a side stream does not have it."""
    loop, power = loop_of(family), "PowerDeliveryReq"
    kind = "DC" if family is Family.ACDP else family.value
    parameters, schedule = f"{kind}_ChargeParameterDiscoveryReq", "ScheduleExchangeReq"
    wired = family in (Family.AC, Family.DC)

    def case(
        name: str, title: str, required: str, ids: tuple[str, ...], do: Beside, *, goal: State = loop, pay: str = "",
        why: str = "", quick: bool = False, more: tuple[Script, ...] = (), **expect: object,
    ) -> Case:  # fmt: skip
        script = Script(goal=goal, do=do, pay=pay, expect=Expect(**expect))  # type: ignore[arg-type]
        return Case(
            id=f"SECC-MUX-{family.value}-{name}", title=title, required=required, requirements=ids,
            open=why or ("" if wired else _CHART_OPEN), family=family, quick=quick, scripts=(script, *more),
        )  # fmt: skip

    def reneg(*requests: str, change: str = "", form: str = "") -> Beside:
        return Beside(PayloadType.SCHEDULE_RENEGOTIATION, requests, change, form)

    def metering(change: str = "") -> Beside:
        return Beside(PayloadType.METERING_CONFIRMATION, ("MeteringConfirmationReq",), change)

    good: Fields = {
        "codes": ("OK*",),
        "facts": (MEANWHILE, SERVES),
        "no_facts": (UNFINISHED, "answers with another SessionID"),
    }
    continues = "positive responses, while and after which the charge loop continues"
    for name, requests in (("renegotiation", (parameters, schedule, power)), ("schedule", (schedule, power))):
        yield case(name, f"A new schedule beside the charge loop: {', '.join(requests)}", continues, (),
                   reneg(*requests), quick=name == "renegotiation", **good)  # fmt: skip
    order: Fields = {"codes": ("FAILED_SequenceError",), "closes": True}
    ended = "FAILED_SequenceError on the side stream, then the end of the session"
    out_of_order: tuple[tuple[str, tuple[str, ...]], ...] = (
        ("order-power", (parameters, power)),
        ("order-parameters", (parameters, parameters)),
        ("order-power-first", (power,)),
    )
    for name, sent in out_of_order:
        yield case(name, f"On the side stream {' after '.join(sent[::-1])}", ended, ("V2G20-459",),
                   reneg(*sent), **order)  # fmt: skip
    yield case("early", "ScheduleExchangeReq on the side stream before energy flows", ended, ("V2G20-459",),
               reneg(schedule), goal=State.SCHEDULE_EXCHANGE, **order)  # fmt: skip
    yield case("session", "ScheduleExchangeReq with another SessionID on the side stream",
               "FAILED_UnknownSession on the side stream, then the end of the session", ("V2G20-460",),
               reneg(parameters, schedule, change="other session"), codes=("FAILED_UnknownSession",),
               closes=True)  # fmt: skip
    yield case("metering", "A signed reading beside the charge loop", continues, ("V2G20-1083",), metering(), pay="PnC",
               why=_SIGNER, **good)  # fmt: skip
    for name, change, code in (
        ("metering-signature", "broken signature", "FAILED_SignatureError"),
        ("metering-unsigned", "no signature", "FAILED_SignatureError"),
        ("metering-reading", "other reading", "FAILED_MeteringSignatureNotValid"),
    ):
        yield case(name, f"A signed reading beside the charge loop: {change}", f"{code}, then the end of the session",
                   ("V2G20-461",), metering(change), pay="PnC", why=_SIGNER, codes=(code,), closes=True)  # fmt: skip
    yield case("metering-early", "MeteringConfirmationReq on its side stream before energy flows", ended,
               ("V2G20-459",), metering(), goal=State.SERVICE_DISCOVERY, **order)  # fmt: skip
    for request in ("VehicleCheckInReq", "VehicleCheckOutReq"):
        parking = Beside(PayloadType.PARKING_STATUS, (request,))
        yield case(f"parking-{request}", f"{request} beside the charge loop without the service",
                   "FAILED*, then the end", (), parking, why=_PLACE, codes=("FAILED*",), closes=True)  # fmt: skip
    if family is Family.ACDP:
        status = Beside(PayloadType.ACDP_SYSTEM_STATUS, ("ACDP_SystemStatusReq",))
        yield case("status", "ACDP_SystemStatusReq beside the charge loop", continues, (), status, **good)
        yield case("status-early", "ACDP_SystemStatusReq on its side stream before the services", ended,
                   ("V2G20-459",), status, goal=State.SERVICE_DISCOVERY, **order)  # fmt: skip
    alive = Script(goal=State.SESSION_SETUP, expect=Expect(reaches=True))
    for form in _FORMS:
        yield case(f"gtp-{form.replace(' ', '_')}", f"V2GTP: {form}, on a side stream", "the next session begins",
                   ("clause 8.6",), reneg(schedule, form=form), why=_UNREADABLE, more=(alive,), open=True)  # fmt: skip
