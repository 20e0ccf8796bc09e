"""Grid support at stations: DER controls set, reported and cleared (R04)."""

from csms.requests.work import Asked, ask, call
from csms.services import Services
from v2g.errors import RefusedError
from v2g.ocpp.messages import der_control as ocpp
from v2g.ocpp.messages.ev_charging import DERControl


class DerService:
    """Grid operators' settings at stations. Raises as `ConnectionRegistry.call`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def set(self, station_id: str, control: ocpp.SetDERControlRequest) -> ocpp.SetDERControlResponse:
        """Set a control. Raises RefusedError (`bad_control`)."""
        check_control(control)
        return await call(self._services, station_id, control, ocpp.SetDERControlResponse)

    async def get(
        self,
        station_id: str,
        *,
        is_default: bool | None = None,
        control_type: DERControl | None = None,
        control_id: str | None = None,
    ) -> Asked[ocpp.GetDERControlResponse]:
        """Have a station report controls; they are stored as the reports arrive."""

        def request(request_id: int) -> ocpp.GetDERControlRequest:
            return ocpp.GetDERControlRequest(
                request_id=request_id, is_default=is_default, control_type=control_type, control_id=control_id
            )

        return await ask(self._services, station_id, request, ocpp.GetDERControlResponse, {"Accepted"})

    async def clear(
        self,
        station_id: str,
        *,
        is_default: bool,
        control_type: DERControl | None = None,
        control_id: str | None = None,
    ) -> ocpp.ClearDERControlResponse:
        """Clear one control, those of a type, or all default or all scheduled ones."""
        request = ocpp.ClearDERControlRequest(is_default=is_default, control_type=control_type, control_id=control_id)
        return await call(self._services, station_id, request, ocpp.ClearDERControlResponse)


def check_control(control: ocpp.SetDERControlRequest) -> None:
    """Raise RefusedError (`bad_control`) for values that do not match the type of a control."""
    if not control.fits:
        reason = f"values do not match {control.control_type}"
        raise RefusedError(f"control {control.control_id}: {reason}", reason="bad_control")
