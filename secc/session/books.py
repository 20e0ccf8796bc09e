"""What goes into the journal of a session, beyond what the discharge gate says by itself."""

import hashlib
from typing import Literal

from secc.session.d20.request_context import RequestContext
from secc.session.d20.stages import Contract, Selected
from secc.session.ports import Journal
from v2g.energy.settlement.records import (
    AnyRecord,
    ContractAuthorized,
    Discharge,
    ServiceChanged,
    SessionStarted,
    TariffSet,
    VehicleDescribed,
)


def open_books(selected: Selected, context: RequestContext) -> tuple[Journal, ...]:
    """Return the first entries of a session: who, where, on which terms. No energy has flowed yet."""
    contract = selected.authorized.contract
    records: list[AnyRecord] = [_started(selected, context)]
    if contract is not None:
        records.append(_authorized(contract))
    records.append(VehicleDescribed(evcc_id=selected.authorized.opened.evcc_id))
    if context.tariff is not None:
        records.append(TariffSet(tariff=context.tariff))
    return tuple(Journal(record) for record in records)


def change_services(
    selected: Selected, reason: Literal["renegotiated", "resumed"], context: RequestContext
) -> tuple[Journal, ...]:
    """Return the entry for services that hold from now on in a journal that is open already."""
    changed = ServiceChanged(service=selected.service.name, discharge=discharge_rule(selected, context), reason=reason)
    return (Journal(changed),)


def discharge_rule(selected: Selected, context: RequestContext) -> Discharge:
    """Return what lets energy be fed back."""
    if not selected.bidirectional or (context.config.signed_discharge.required and not selected.signed_discharge):
        return "none"
    return "signed" if selected.signed_discharge else "standard"


def _started(selected: Selected, context: RequestContext) -> SessionStarted:
    import_mwh, export_mwh = context.meter_begin
    return SessionStarted(
        station_id=context.identity.station_id,
        evse_id=context.config.evse_id,
        session_id=selected.authorized.opened.session_id.hex(),
        meter_serial=context.identity.meter_serial,
        meter_certificate=hashlib.sha256(context.identity.meter_certificate).hexdigest(),
        charger_certificate=hashlib.sha256(context.trust.chain[0]).hexdigest(),
        import_mwh=import_mwh,
        export_mwh=export_mwh,
        discharge=discharge_rule(selected, context),
        reaction_ms=context.config.reaction_ms,
    )


def _authorized(contract: Contract) -> ContractAuthorized:
    fingerprint = hashlib.sha256(contract.chain[0]).hexdigest()
    return ContractAuthorized(emaid=contract.emaid, contract_certificate=fingerprint, authorized_by="csms")
