"""Messages that ISO 15118-2 and DIN 70121 have in common: each is that of either edition, by the name in the former."""

from v2g.iso15118.d2.messages import common as common_2
from v2g.iso15118.d2.messages import data_types as parameters_2
from v2g.iso15118.d2.messages import message as message_2
from v2g.iso15118.din.messages import common as common_din
from v2g.iso15118.din.messages import data_types as parameters_din
from v2g.iso15118.din.messages import message as message_din

V2G_Message = message_2.V2G_Message | message_din.V2G_Message

SessionSetupRes = common_2.SessionSetupRes | common_din.SessionSetupRes
AuthorizationRes = common_2.AuthorizationRes | common_din.ContractAuthenticationRes
ChargeParameterDiscoveryReq = common_2.ChargeParameterDiscoveryReq | common_din.ChargeParameterDiscoveryReq
ChargeParameterDiscoveryRes = common_2.ChargeParameterDiscoveryRes | common_din.ChargeParameterDiscoveryRes
CableCheckReq = common_2.CableCheckReq | common_din.CableCheckReq
CableCheckRes = common_2.CableCheckRes | common_din.CableCheckRes
PreChargeReq = common_2.PreChargeReq | common_din.PreChargeReq
PreChargeRes = common_2.PreChargeRes | common_din.PreChargeRes
PowerDeliveryReq = common_2.PowerDeliveryReq | common_din.PowerDeliveryReq
PowerDeliveryRes = common_2.PowerDeliveryRes | common_din.PowerDeliveryRes
CurrentDemandReq = common_2.CurrentDemandReq | common_din.CurrentDemandReq
CurrentDemandRes = common_2.CurrentDemandRes | common_din.CurrentDemandRes
WeldingDetectionReq = common_2.WeldingDetectionReq | common_din.WeldingDetectionReq
WeldingDetectionRes = common_2.WeldingDetectionRes | common_din.WeldingDetectionRes
SessionStopReq = common_2.SessionStopReq | common_din.SessionStopReq

DC_EVChargeParameter = parameters_2.DC_EVChargeParameter | parameters_din.DC_EVChargeParameter
DC_EVSEChargeParameter = parameters_2.DC_EVSEChargeParameter | parameters_din.DC_EVSEChargeParameter
EVSEStatus = parameters_2.EVSEStatus | parameters_din.EVSEStatus
DC_EVSEStatus = parameters_2.DC_EVSEStatus | parameters_din.DC_EVSEStatus
