"""What the provider of a contract has booked of a demo: a CDR, beside the settlement bundle (R203)."""

import base64
from collections.abc import Iterable
from decimal import Decimal

import msgspec

from v2g.ocpi import wire
from v2g.ocpi.objects import OcpiCdr
from v2g.ocpi.records import volume
from v2g.units import payable
from v2g_cli.demo.run import Check, Run


def billed(run: Run) -> Iterable[Check]:
    """Check that the provider has booked the CDR of what bundle and operator say, with the meter's own signatures."""
    found = run.conductor.cdrs
    words = ", ".join(f"{each['state']} {each['detail']}".strip() for each in found) or "none came"
    yield Check("the provider has booked one CDR", [each["state"] for each in found] == ["booked"], words)
    if run.report is None or len(found) != 1:
        return
    cdr = wire.read(wire.inner(wire.decode(msgspec.json.encode(found[0]["document"]))), OcpiCdr)
    settled, (total,) = run.report.settlement, run.report.settlement.totals
    said, wanted = cdr.total_cost.before_taxes, payable(Decimal(total.balance).scaleb(-6), total.currency)
    posted = run.last("csms", "settlement", "settled")
    booked = None if posted is None else payable(Decimal(int(posted.data["balance"])).scaleb(-6), total.currency)
    words = f"{wanted}, {booked} and {said} {total.currency}"
    yield Check("money is equal in the bundle, at operator and provider", said == wanted == booked, words)
    back = sum((each.volume for p in cdr.charging_periods for each in p.dimensions if each.volume < 0), Decimal(0))
    taken = volume(cdr.charging_periods, "ENERGY") - back
    meter = [Decimal(getattr(settled.end, name) - getattr(settled.begin, name)) / 10**6
             for name in ("import_mwh", "export_mwh")]  # fmt: skip
    same = abs(taken - meter[0]) < Decimal("0.001") > abs(back + meter[1])
    yield Check("its energy is the meter's, below zero where it was fed back", same, f"{taken} kWh, {back} kWh")
    signed = set() if cdr.signed_data is None else {each.signed_data for each in cdr.signed_data.signed_values}
    shown = {base64.b64encode(line).decode() for each in run.bundles[-1].glob("ocmf_*.txt")
             for line in each.read_bytes().splitlines()}  # fmt: skip
    words = f"{len(signed & shown)} of {len(signed)}"
    yield Check("the CDR has the bundle's signed readings (OCMF)", len(signed) == 2 and signed <= shown, words)
