"""The settlement of an ISO 15118-2 session: a contract with the key of -2 beside a charger with that of -20."""

import pytest
from msgspec.structs import replace

from pki_tools.tree import PkiTree
from tests.energy.settlement.conftest import SESSION_ID, Session
from tests.io.tls.support import other_2, pki_2
from v2g import exi
from v2g.energy.settlement.bundle import Chains, verify_bundle
from v2g.energy.settlement.records import MeteringConfirmed
from v2g.errors import VerificationError
from v2g.iso15118.d2 import signatures
from v2g.iso15118.d2.messages.body import Body
from v2g.iso15118.d2.messages.common import MeteringReceiptReq
from v2g.iso15118.d2.messages.data_types import MeterInfo
from v2g.iso15118.d2.messages.header import MessageHeader
from v2g.iso15118.d2.messages.message import V2G_Message
from v2g.iso15118.signed_requests import read_confirmation

__all__ = ["other_2", "pki_2"]


class OlderSession(Session):
    """Its vehicle pays by a contract of `tree`, and gives a receipt for `charged_wh`."""

    def __init__(self, pki: PkiTree, tree: PkiTree, start_ms: int) -> None:
        super().__init__(pki, start_ms)
        self.tree, self.contract = tree, tree.credentials("contract")

    def chains(self) -> Chains:
        return replace(super().chains(), roots=(*self.pki.anchors("v2g"), *self.tree.anchors("mo")))

    def give_receipt(self, tree: PkiTree, charged_wh: int) -> None:
        info = MeterInfo(meter_id="METER-0001", meter_reading=charged_wh)
        request = MeteringReceiptReq(session_id=SESSION_ID, sa_schedule_tuple_id=1, meter_info=info, id="id1")
        header = MessageHeader(session_id=SESSION_ID, signature=signatures.sign(request, tree.key("contract")))
        message = V2G_Message(header=header, body=Body(body_element=request))
        self.record(MeteringConfirmed(payload=exi.encode(message)))


def settled(pki: PkiTree, tree: PkiTree, signer: PkiTree, start_ms: int, charged_wh: int) -> dict[str, bytes]:
    """Return the bundle of a session that charged 1,833 Wh in ten minutes."""
    session = OlderSession(pki, tree, start_ms)
    session.start()
    session.flow(11_000, 10 * 60_000)
    session.give_receipt(signer, charged_wh)
    session.end()
    return session.bundle()


def test_receipts_are_verified(pki: PkiTree, pki_2: PkiTree, start_ms: int) -> None:
    files = settled(pki, pki_2, pki_2, start_ms, 1_800)
    anchors = (*pki.anchors("v2g"), *pki_2.anchors("mo"))
    report = verify_bundle(files, anchors=anchors, confirmations=read_confirmation)
    assert report.contract == "DEV2GC00000001"
    assert (report.confirmations, report.confirmed_wh) == (1, (1_800, 0))


@pytest.mark.parametrize(("charged_wh", "why"), [(1_900, "differs from the meter reading"), (1_800, "confirmation")])
def test_a_wrong_receipt_is_found(
    pki: PkiTree, pki_2: PkiTree, other_2: PkiTree, start_ms: int, charged_wh: int, why: str
) -> None:
    """A reading beyond the meter's, or the signature of another contract."""
    signer = pki_2 if charged_wh == 1_900 else other_2
    with pytest.raises(VerificationError, match=why):
        verify_bundle(settled(pki, pki_2, signer, start_ms, charged_wh), confirmations=read_confirmation)


def test_the_contract_leads_to_a_trusted_root(pki: PkiTree, pki_2: PkiTree, start_ms: int) -> None:
    files = settled(pki, pki_2, pki_2, start_ms, 1_800)
    with pytest.raises(VerificationError, match="unknown_root"):
        verify_bundle(files, anchors=pki.anchors("v2g", "mo"), confirmations=read_confirmation)
