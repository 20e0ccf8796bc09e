"""What several tests of timers use."""

from tests.secc.session.bench import AC, ACDP, DC_BPT, WPT
from v2g.iso15118.d20.charts import CHARTS, Family

SERVICE = {Family.AC: AC, Family.DC: DC_BPT, Family.WPT: WPT, Family.ACDP: ACDP}


def requests_of(family: Family) -> list[str]:
    """What our vehicle sends in a session of that family, without side streams."""
    left_out = ("CertificateInstallationReq", "MeteringConfirmationReq", "VehicleCheckInReq", "VehicleCheckOutReq")
    names = {name for ways in CHARTS[family].values() for name in ways}
    return sorted(names - set(left_out))
