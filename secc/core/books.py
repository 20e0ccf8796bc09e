"""What goes into the journal of a session, beyond what the discharge gate says by itself."""

import hashlib

from secc.core.context import Contract, Selected, World
from secc.core.ports import Journal
from v2g.settlement.records import (
    AnyRecord,
    ContractAuthorized,
    SessionStarted,
    TariffSet,
    VehicleDescribed,
)


def open_books(selected: Selected, world: World) -> tuple[Journal, ...]:
    """Return the first entries of a session: who, where, on which terms. No energy has flowed yet."""
    contract = selected.authorized.contract
    records: list[AnyRecord] = [_started(selected, world)]
    if contract is not None:
        records.append(_authorized(contract))
    records.append(VehicleDescribed(evcc_id=selected.authorized.opened.evcc_id))
    if world.tariff is not None:
        records.append(TariffSet(tariff=world.tariff))
    return tuple(Journal(record) for record in records)


def _started(selected: Selected, world: World) -> SessionStarted:
    import_mwh, export_mwh = world.meter_begin
    if not selected.bidirectional or (world.config.signed_discharge.required and not selected.signed_discharge):
        discharge = "none"
    else:
        discharge = "signed" if selected.signed_discharge else "standard"
    return SessionStarted(
        station_id=world.identity.station_id,
        evse_id=world.config.evse_id,
        session_id=selected.authorized.opened.session_id.hex(),
        meter_serial=world.identity.meter_serial,
        meter_certificate=hashlib.sha256(world.identity.meter_certificate).hexdigest(),
        charger_certificate=hashlib.sha256(world.trust.chain[0]).hexdigest(),
        import_mwh=import_mwh,
        export_mwh=export_mwh,
        discharge=discharge,  # type: ignore[arg-type] # one of the three words above
        reaction_ms=world.config.reaction_ms,
    )


def _authorized(contract: Contract) -> ContractAuthorized:
    fingerprint = hashlib.sha256(contract.chain[0]).hexdigest()
    return ContractAuthorized(emaid=contract.emaid, contract_certificate=fingerprint, authorized_by="csms")
