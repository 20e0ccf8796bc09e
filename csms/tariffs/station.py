"""Functional block I, and related payment cases: drivers' tariffs, VAT numbers."""

from csms.ocpp.base import HandlerContext
from csms.ocpp.handlers import answers
from csms.tariffs import store as tariffs
from csms.tariffs.rules import vat_number_fits
from csms.tariffs.store import Scope
from csms.tokens.rules import normalise
from v2g.errors import RefusedError
from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.base import StatusInfo
from v2g.ocpp.messages.payment import VatNumberValidationRequest, VatNumberValidationResponse
from v2g.ocpp.messages.tariff_cost import Tariff
from v2g.translate.ocpp_tariffs import to_wire


async def driver_tariff(context: HandlerContext, token: IdToken) -> Tariff | None:
    """Return a driver's own tariff, for a station of 2.1 (I08.FR.01); None when there is none."""
    if context.version != "2.1":
        return None
    scope = Scope(station_id=context.station_id, token_type=token.type, id_token=normalise(token.type, token.id_token))
    plan = await context.services.store.read(tariffs.find_driver_plan, scope)
    try:
        return None if plan is None else to_wire(plan, driver=True)
    except RefusedError:
        return None  # then the back end calculates the cost


@answers
async def answer_vat_number_validation(
    context: HandlerContext, request: VatNumberValidationRequest
) -> VatNumberValidationResponse:
    """Answer whether a VAT number has its country's form (C18.FR.09, FR.10)."""
    fits = vat_number_fits(request.vat_number)
    context.observe("ocpp", "vat_number", fits=fits, evse=request.evse_id)
    return VatNumberValidationResponse(
        vat_number=request.vat_number,
        evse_id=request.evse_id,
        status="Accepted" if fits else "Rejected",
        status_info=None if fits else StatusInfo(reason_code="InvalidValue"),
    )
