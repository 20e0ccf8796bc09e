"""Functional block A, renewal of the station's certificate: cases for back ends."""

from typing import Final

from cryptography import x509

from v2g_testkit.ocpp.case import Block
from v2g_testkit.ocpp.certificates import SigningRequest
from v2g_testkit.ocpp.csms_tester import CsmsTest

A: Final[Block[CsmsTest]] = Block()

_KIND: Final = "ChargingStationCertificate"


def _renews(id: str, title: str, status: str, *, quick: bool = False) -> None:  # noqa: A002
    @A.case(
        id,
        title,
        required="The back end accepts the station's request, and delivers a certificate for its key; whatever the "
        "station answers, it goes on.",
        requirements=("A02.FR.11", "A02.FR.14"),
        profiles=("Advanced Security",),
        needs=("certificate renewal",),
        quick=quick,
    )
    async def script(t: CsmsTest) -> None:
        await t.ready()
        t.answer("CertificateSigned", {"status": status})
        await t.asked("TriggerMessage", "F06.FR.01", requestedMessage="SignChargingStationCertificate")
        request = SigningRequest(t.declared.station.identity)
        answer = await t.call("SignCertificate", csr=request.pem, certificateType=_KIND)
        t.check(answer["status"] == "Accepted", "A02.FR.11", f"answers SignCertificate with {answer['status']}")
        sent = await t.expect("CertificateSigned", "A02.FR.11")
        kind = sent.get("certificateType", _KIND)
        t.check(kind == _KIND, "A02.FR.14", f"the certificate is a {kind}")
        try:
            leaf, *_ = x509.load_pem_x509_certificates(sent["certificateChain"].encode())
        except ValueError:
            t.check(holds=False, requirement="A02.FR.11", found="certificateChain is not a chain of certificates")
            return
        t.check(request.is_of(leaf), "A02.FR.11", "the certificate is of another key")
        await t.call("Heartbeat")


_renews("TC_A_11_CSMS", "Certificate of the station that is renewed", "Accepted", quick=True)
_renews("TC_A_14_CSMS", "Renewed certificate that the station rejects", "Rejected")
