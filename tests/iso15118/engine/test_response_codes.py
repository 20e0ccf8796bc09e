"""Response codes of ISO 15118-2 and DIN 70121: each has its place, and a consequence in every response."""

from typing import Any

import pytest

from tests.together import together
from v2g.iso15118.d2 import response_codes as codes_2
from v2g.iso15118.d2.messages import common as common_2
from v2g.iso15118.d2.messages.data_types import ResponseCode as Code2
from v2g.iso15118.din import response_codes as codes_din
from v2g.iso15118.din.charts import REQUESTS as REQUESTS_DIN
from v2g.iso15118.din.messages import common as common_din
from v2g.iso15118.din.messages.data_types import ResponseCode as CodeDin
from v2g.iso15118.engine.response_codes import EVERY, Consequence, consequence_of, has_place


def responses(*modules: Any) -> set[str]:
    return {name for module in modules for name in module.ELEMENTS if name.endswith("Res")}


RESPONSES_2 = responses(common_2, common_2)
RESPONSES_DIN = {name for name in responses(common_din, common_din) if f"{name[:-3]}Req" in REQUESTS_DIN}

# by the published list: besides OK, FAILED, FAILED_SequenceError and FAILED_UnknownSession
SPECIFIC = {
    "SessionSetupRes": "OK_NewSessionEstablished OK_OldSessionJoined",
    "ServiceDetailRes": "ServiceIDInvalid",
    "PaymentServiceSelectionRes": "PaymentSelectionInvalid ServiceSelectionInvalid NoChargeServiceSelected",
    "CertificateInstallationRes": "CertificateExpired SignatureError NoCertificateAvailable CertChainError "
    "CertificateRevoked",
    "CertificateUpdateRes": "CertificateExpired SignatureError NoCertificateAvailable CertChainError "
    "CertificateRevoked ContractCanceled",
    "PaymentDetailsRes": "OK_CertificateExpiresSoon CertificateExpired CertChainError NoCertificateAvailable "
    "CertificateRevoked CertificateNotAllowedAtThisEVSE ContractCanceled",
    "AuthorizationRes": "ChallengeInvalid SignatureError",
    "ChargeParameterDiscoveryRes": "WrongEnergyTransferMode WrongChargeParameter",
    "PowerDeliveryRes": "ChargingProfileInvalid TariffSelectionInvalid PowerDeliveryNotApplied ContactorError",
    "MeteringReceiptRes": "MeteringSignatureNotValid",
}
COMMON = {"OK", "FAILED", "FAILED_SequenceError", "FAILED_UnknownSession"}


@pytest.mark.parametrize(("module", "kind"), [(codes_2, Code2), (codes_din, CodeDin)], ids=["d2", "din"])
def test_every_code_of_the_schema_is_explained_in_its_order(module: Any, kind: Any) -> None:
    assert list(module.USES) == [code.name for code in kind]
    named = {name for use in module.USES.values() for name in use.responses}
    assert named <= (RESPONSES_2 if module is codes_2 else RESPONSES_DIN) | set(EVERY)
    assert all(use.when for use in module.USES.values())


@together("name", sorted(RESPONSES_2))
def test_codes_have_their_place_where_the_published_list_has_them(name: str) -> None:
    listed = {word if word.startswith("OK_") else f"FAILED_{word}" for word in SPECIFIC.get(name, "").split()}
    assert {code.name for code in Code2 if has_place(name, code.name, codes_2.USES)} == listed | COMMON


def test_every_code_of_2_has_a_name_in_din() -> None:
    lacking = {code.name for code in Code2} - {code.name for code in CodeDin}
    assert (
        set(codes_din.NAMES_OF_2) | {"FAILED_CertificateNotAllowedAtThisEVSE", "FAILED_CertificateRevoked"} == lacking
    )
    assert set(codes_din.NAMES_OF_2.values()) <= {code.name for code in CodeDin}


@together(
    ("name", "code"), sorted({(name, code.name) for name in RESPONSES_2 | RESPONSES_DIN for code in (*Code2, *CodeDin)})
)
def test_every_code_of_every_response_has_a_consequence_by_its_kind(name: str, code: str) -> None:
    expected = (
        {"OK_CertificateExpiresSoon": Consequence.RENEW_CONTRACT}.get(code, Consequence.CONTINUE)
        if code.startswith("OK")
        else Consequence.FINISH
        if name in ("WeldingDetectionRes", "SessionStopRes")
        else Consequence.END
    )
    assert consequence_of(name, code) is expected
