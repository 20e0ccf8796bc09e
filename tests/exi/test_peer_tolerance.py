"""Streams that other encoders write differently are understood, or refused with a reason."""

import msgspec
import pytest

from tests.together import together
from v2g.energy.grid_support import GridSupport, SupportCurve
from v2g.errors import ExiDecodeError, ExiEncodeError
from v2g.exi import Dialect, decode, decode_fragment, encode, encode_fragment
from v2g.exi.declare import AnyElement, Element
from v2g.exi.explain import explain
from v2g.exi.grammar import fragment
from v2g.iso15118.d2.messages import common as iso2
from v2g.iso15118.d2.messages.body import Body
from v2g.iso15118.d2.messages.data_types import (
    ChargeService,
    ContractSignatureEncryptedPrivateKey,
    EnergyTransferMode,
    PaymentOption,
    PaymentOptionList,
    ResponseCode,
    ServiceCategory,
    SupportedEnergyTransferMode,
)
from v2g.iso15118.d2.messages.header import MessageHeader as Iso2Header
from v2g.iso15118.d2.messages.message import V2G_Message
from v2g.iso15118.d2.schemas import ISO2
from v2g.iso15118.d20.der import control
from v2g.iso15118.d20.messages import ac_der_iec
from v2g.iso15118.d20.messages.acdp import ACDP_DisconnectReq, ElectricalChargingDeviceStatus
from v2g.iso15118.d20.messages.certificates import ContractCertificateChain, SubCertificates
from v2g.iso15118.d20.messages.common_messages import (
    Authorization,
    AuthorizationReq,
    PnC_AReqAuthorizationMode,
    ServiceDiscoveryReq,
    ServiceIDList,
    SessionSetupReq,
)
from v2g.iso15118.d20.messages.common_types import DetailedTax, MessageHeader, Processing, RationalNumber, Receipt
from v2g.iso15118.d20.messages.common_types import ResponseCode as CommonResponseCode
from v2g.iso15118.d20.messages.wpt import WPT_FinePositioningRes
from v2g.iso15118.d20.messages.wpt_positioning import (
    WPT_LF_DataPackage,
    WPT_LF_DataPackageList,
    WPT_LF_TxData,
    WPT_LF_TxDataList,
)
from v2g.iso15118.d20.schemas import AC_DER_IEC, ACDP, COMMON_MESSAGES
from v2g.iso15118.engine.app_protocol import AppProtocol, SupportedAppProtocolReq
from v2g.iso15118.engine.schemas import XMLDSIG
from v2g.iso15118.engine.xmldsig import DigestMethod, SignatureValue

HEADER = MessageHeader(session_id=bytes(8), time_stamp=1)
ZERO = RationalNumber(exponent=0, value=0)

BEFORE_BODY = 8 + 6 + 1 + (1 + 1 + 8 + 64 + 1) + (1 + 1 + 8 + 1) + 2
"""Bits of the EXI header, the document code, and a message header with this session and time."""


def bits(octets: bytes) -> str:
    return "".join(f"{octet:08b}" for octet in octets)


def octets(text: str) -> bytes:
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8)


def test_an_empty_string_in_either_form() -> None:
    """EXIficient ends the element at once, which is second-level event 0; cbexigen writes a string of length 0."""
    message = SessionSetupReq(header=HEADER, evcc_id="")
    ours = bits(encode(message))
    assert ours[BEFORE_BODY:].rstrip("0") == "0" + "0" + "0000001"  # start, value of length 0 + 2
    theirs = octets(ours[:BEFORE_BODY] + "0" + "1000" + "0")
    assert decode(theirs, COMMON_MESSAGES) == message


def test_an_empty_value_after_an_attribute_in_either_form() -> None:
    """The octets are those that EXIficient writes for the element with its Id and nothing in it."""
    key = ContractSignatureEncryptedPrivateKey(value=b"", id="id1")
    theirs = bytes.fromhex("802202b4b218c7a0")
    assert decode_fragment(theirs, ISO2) == key
    assert decode_fragment(encode_fragment(key, ISO2), ISO2) == key
    steps = explain(theirs, ISO2, is_fragment=True).steps
    assert [(step.bits, step.raw) for step in steps if step.event == "EE"] == [("000", b"")]


def test_an_empty_value_after_an_attribute_that_is_not_there_in_either_form() -> None:
    """SignatureValue has an optional Id: three things may come at its start, the escape in two bits among them."""
    id_x = "00" + "00000011" + f"{ord('x'):08b}"
    cases = (("10" + "000", SignatureValue(value=b"")), (id_x + "1" + "000", SignatureValue(id="x", value=b"")))
    for theirs, value in cases:
        ours = bits(encode_fragment(value, XMLDSIG))
        roots = fragment(XMLDSIG)
        start = ours[: 8 + roots.width]
        assert decode_fragment(octets(start + theirs + f"{roots.end:0{roots.width}b}"), XMLDSIG) == value
        assert decode_fragment(octets(ours), XMLDSIG) == value


@together("second", range(1, 8))
def test_other_deviations_after_an_attribute_are_refused(second: int) -> None:
    theirs = bits(bytes.fromhex("802202b4b218c7a0"))
    assert theirs[49:53] == "1000"
    with pytest.raises(ExiDecodeError, match="undeclared"):
        decode_fragment(octets(theirs[:50] + f"{second:03b}" + theirs[53:]), ISO2)


def test_a_full_list_in_either_form() -> None:
    """After the last item that is allowed, cbexigen still writes the two bits of the items before."""
    message = ServiceDiscoveryReq(header=HEADER, supported_service_ids=ServiceIDList(service_id=tuple(range(1, 17))))
    size = BEFORE_BODY + 2 + (1 + 10) + 15 * (2 + 10) + 1 + 1
    ours = bits(encode(message))
    assert len(ours) - size < 8
    assert ours[size - 2 : size] == "00"
    assert decode(octets(ours[: size - 2] + "01" + "0"), COMMON_MESSAGES) == message


def test_a_full_list_deep_inside_in_either_form() -> None:
    chain = ContractCertificateChain(
        certificate=b"leaf", sub_certificates=SubCertificates(certificate=(b"one", b"two", b"three"))
    )
    message = AuthorizationReq(
        header=HEADER,
        selected_authorization_service=Authorization.PnC,
        pnc_a_req_authorization_mode=PnC_AReqAuthorizationMode(
            id="id1", gen_challenge=bytes(range(16)), contract_certificate_chain=chain
        ),
    )
    ours = bits(encode(message))
    end = len(ours.rstrip("0")) + 1  # the last certificate ends in a 1 bit, then its element ends
    assert decode(octets(ours[:end] + "01" + "000"), COMMON_MESSAGES) == message


def test_a_full_list_for_a_peer_that_ends_it_otherwise() -> None:
    message = ServiceDiscoveryReq(header=HEADER, supported_service_ids=ServiceIDList(service_id=tuple(range(1, 17))))
    theirs = encode(message, dialect=Dialect.CBEXIGEN)
    size = BEFORE_BODY + 2 + (1 + 10) + 15 * (2 + 10)
    assert bits(theirs)[size : size + 3] == "01" + "0"
    for dialect in Dialect:
        assert decode(theirs, COMMON_MESSAGES, dialect=dialect) == message
        assert decode(encode(message), COMMON_MESSAGES, dialect=dialect) == message


def test_a_full_list_of_elements_is_written_as_the_peers_decoder_reads_it() -> None:
    """Measured: cbv2g cannot read back 10 CurveDataPoint as its own encoder ends them (-150), but reads ours."""
    support = GridSupport(volt_var=SupportCurve(points=tuple((200 + n, n) for n in range(10))))
    zero = RationalNumber(exponent=0, value=0)
    names = ("maximum_charge", "minimum_charge", "nominal_charge", "nominal_discharge", "maximum_discharge")
    mode = ac_der_iec.DER_AC_CPDResEnergyTransferMode(
        **{f"evse_{name}_power": zero for name in names},
        evse_nominal_frequency=zero,
        ev_operating_mode=ac_der_iec.EvOperatingMode.GridFollowing,
        grid_connection_mode=ac_der_iec.GridConnectionMode.GridConnected,
        der_control=control(support, ["volt_var"]),
    )
    message = ac_der_iec.AC_ChargeParameterDiscoveryRes(
        header=HEADER, response_code=CommonResponseCode.OK, ac_cpd_res_energy_transfer_mode=mode
    )
    octets = encode(message)
    assert encode(message, dialect=Dialect.CBEXIGEN) == octets
    for dialect in Dialect:
        assert decode(octets, AC_DER_IEC, dialect=dialect) == message


def test_a_list_with_one_optional_item_is_no_loop_to_any_peer() -> None:
    """cbexigen codes a list of one or two items as the specification says; here are both kinds in one message."""
    payment = PaymentOptionList(payment_option=(PaymentOption.Contract, PaymentOption.ExternalPayment))
    modes = SupportedEnergyTransferMode(energy_transfer_mode=tuple(EnergyTransferMode))
    charging = ChargeService(
        service_id=1,
        service_category=ServiceCategory.EVCharging,
        free_service=True,
        supported_energy_transfer_mode=modes,
    )
    response = iso2.ServiceDiscoveryRes(
        response_code=ResponseCode.OK, payment_option_list=payment, charge_service=charging
    )
    message = V2G_Message(header=Iso2Header(session_id=bytes(8)), body=Body(body_element=response))
    theirs = encode(message, dialect=Dialect.CBEXIGEN)
    assert theirs != encode(message)
    for octets in (theirs, encode(message)):
        assert decode(octets, ISO2) == message
    chosen = PaymentOptionList(payment_option=payment.payment_option)
    assert encode_fragment(chosen, ISO2) == encode_fragment(chosen, ISO2, dialect=Dialect.CBEXIGEN)


def test_the_swapped_messages_of_acdp() -> None:
    message = ACDP_DisconnectReq(
        header=HEADER, ev_electrical_charging_device_status=ElectricalChargingDeviceStatus.State_B
    )
    ours, theirs = encode(message), encode(message, dialect=Dialect.CBEXIGEN)
    assert (bits(ours)[8:14], bits(theirs)[8:14]) == ("000010", "000001")
    assert bits(ours)[14:] == bits(theirs)[14:]
    assert decode(theirs, ACDP, dialect=Dialect.CBEXIGEN) == message
    with pytest.raises(ExiDecodeError):
        decode(theirs, ACDP)


@pytest.mark.parametrize(
    ("message", "path"),
    [
        (SessionSetupReq(header=HEADER, evcc_id="\u00e9"), "SessionSetupReq/EVCCID"),
        (
            SupportedAppProtocolReq(
                app_protocol=tuple(
                    AppProtocol(
                        protocol_namespace="urn:a",
                        version_number_major=1,
                        version_number_minor=0,
                        schema_id=each,
                        priority=1,
                    )
                    for each in range(6)
                )
            ),
            "supportedAppProtocolReq/AppProtocol",
        ),
        (
            WPT_FinePositioningRes(
                header=HEADER,
                response_code=CommonResponseCode.OK,
                evse_processing=Processing.Finished,
                wpt_lf_data_package_list=WPT_LF_DataPackageList(
                    num_packages=1,
                    wpt_lf_data_package=WPT_LF_DataPackage(
                        package_index=0,
                        lf_tx_data=WPT_LF_TxDataList(
                            wpt_lf_tx_data_list=WPT_LF_TxData(tx_identifier=1, eirp=RationalNumber(exponent=0, value=1))
                        ),
                    ),
                ),
            ),
            "WPT_FinePositioningRes",
        ),
        (
            ac_der_iec.AC_ChargeLoopRes(
                header=HEADER,
                response_code=CommonResponseCode.OK,
                receipt=Receipt(time_anchor=0, tax_costs=(DetailedTax(tax_rule_id=1, amount=ZERO),) * 10),
                cl_res_control_mode=ac_der_iec.DER_Scheduled_AC_CLResControlMode(
                    evse_maximum_charge_power=ZERO, evse_maximum_discharge_power=ZERO
                ),
            ),
            "AC_ChargeLoopRes/Receipt",
        ),
    ],
    ids=["text", "capacity", "positioning", "taxes"],
)
def test_what_such_a_peer_cannot_read_is_refused_with_its_place(message: Element, path: str) -> None:
    assert encode(message)
    with pytest.raises(ExiEncodeError, match="the peer") as caught:
        encode(message, dialect=Dialect.CBEXIGEN)
    assert caught.value.path == path


def test_one_item_too_many_is_refused() -> None:
    message = ServiceDiscoveryReq(header=HEADER, supported_service_ids=ServiceIDList(service_id=tuple(range(1, 17))))
    size = BEFORE_BODY + 2 + (1 + 10) + 15 * (2 + 10)
    item = "00" + "0" + "00000001" + "0"
    for end in ("00", "010"):
        with pytest.raises(ExiDecodeError):
            decode(octets(bits(encode(message))[:size] + item + end), COMMON_MESSAGES)


def test_deviations_that_are_not_supported_are_refused_with_their_place() -> None:
    """xsi:type, undeclared attributes and undeclared elements are second-level events everywhere."""
    message = SessionSetupReq(header=HEADER, evcc_id="a")
    ours = bits(encode(message))
    with pytest.raises(ExiDecodeError, match="not foresee") as caught:
        decode(octets(ours[:14] + "1001" + ours[14:]), COMMON_MESSAGES)
    assert caught.value.bit_position == 14
    with pytest.raises(ExiDecodeError, match="undeclared") as caught:
        decode(octets(ours[: BEFORE_BODY + 1] + "1001" + ours[BEFORE_BODY + 1 :]), COMMON_MESSAGES)
    assert caught.value.path == "SessionSetupReq/EVCCID"


def test_undeclared_elements_in_the_built_in_grammar() -> None:
    """Without xsi:type, as the EXI 1.0 grammar alone would have it."""
    element = DigestMethod(algorithm="x", content=(AnyElement(namespace="urn:a", name="b"),))
    ours = bits(encode_fragment(element, XMLDSIG))
    typed = "01" + "011" + "00000000" + "1" + "100" + "00000000" + "001100" + "010"  # xsi:type="xsd:anyType", end
    end = "01" + f"{fragment(XMLDSIG).end:06b}"
    start, _, rest = ours.partition(typed)
    assert rest.rstrip("0") == end.rstrip("0")
    assert decode_fragment(octets(start + "00" + end), XMLDSIG) == element
    text = "11" + "00000011" + "01100011" + "0"  # text "c", end
    assert decode_fragment(octets(start + text + end), XMLDSIG) == msgspec.structs.replace(
        element, content=(AnyElement(namespace="urn:a", name="b", content=("c",)),)
    )


def test_nesting_is_bounded() -> None:
    element = AnyElement(namespace="urn:a", name="b")
    for _ in range(15):
        element = AnyElement(namespace="urn:a", name="b", content=(element,))
    assert encode_fragment(DigestMethod(algorithm="x", content=(element,)), XMLDSIG)
    with pytest.raises(ExiEncodeError):
        encode_fragment(DigestMethod(algorithm="x", content=(AnyElement(name="c", content=(element,)),)), XMLDSIG)
    plain = bits(encode_fragment(DigestMethod(algorithm="x"), XMLDSIG))
    endless = "00" + ("000" + "00000001" + "01100001" + "00000010" + "01100001" + "10") + "110" * 5000
    with pytest.raises(ExiDecodeError):
        decode_fragment(octets(plain[: 8 + 6 + 1 + 16] + endless), XMLDSIG)
