"""Components that a station has only if its layout or configuration says so, in the form of `variables`."""

from typing import Final

OPTIONAL: Final = """
[CHAdeMOCtrlr]
SelftestActive boolean r - - - o
CHAdeMOProtocolNumber integer r - - - o
VehicleStatus boolean r - - - o
DynamicControl boolean r - - - o
HighCurrentControl boolean r - - - o
HighVoltageControl boolean r - - - o
AutoManufacturerCode integer r - - - o
[Controller]
MaxMsgElements integer r - - - 201,o
[CustomizationCtrlr]
CustomImplementationEnabled[<vendorId>] boolean r - - - o
[DistributionPanel]
ChargingStation string r - - - 201,o
DistributionPanel string r - - - 201,o
Fuse[<n>] integer r - A - 201,o
[LocalEnergyStorage]
Capacity decimal r - Wh - o
[FrequencySimulator]
Enabled boolean rw false - - 21,o
DateTime[Start] dateTime rw - - - 21,o
DateTime[End] dateTime rw - - - 21,o
FrequencySchedule string rw - - - 21,o
[DataCollector]
Enabled boolean rw false - - 21,o
DateTime[Start] dateTime rw - - - 21,o
DateTime[End] dateTime rw - - - 21,o
SamplingInterval decimal rw 1 s - 21,o
SampledMeasurands MemberList rw - - $MEASURANDS 21,o
[DCDERCtrlr]
Enabled boolean rw false - - 21,o
MaxW decimal r - W - 21,o
OverExcitedW decimal r - W - 21,o
OverExcitedPF decimal r - - - 21,o
UnderExcitedW decimal r - W - 21,o
UnderExcitedPF decimal r - - - 21,o
MaxVA decimal r - VA - 21,o
MaxVar decimal r - Var - 21,o
MaxVarNeg decimal r - Var - 21,o
MaxChargeRateW decimal r - W - 21,o
MaxChargeRateVA decimal r - VA - 21,o
VNom decimal r - V - 21,o
MaxV decimal r - V - 21,o
MinV decimal r - V - 21,o
ModesSupported MemberList r - - $DER 21,o
InverterManufacturer string r - - - 21,o
InverterModel string r - - - 21,o
InverterSerialNumber string r - - - 21,o
InverterSwVersion string r - - - 21,o
InverterHwVersion string r - - - 21,o
IslandingDetectionMethod OptionList r - - $ISLANDING 21,o
IslandingDetectionTripTime decimal r - s - 21,o
ReactiveSusceptance decimal r - s - 21,o
[ACDERCtrlr]
ModesSupported MemberList r - - $DER 21,o
[BatterySwapCtrlr]
TargetSoC integer r - Percent - 21,o
MaxSoc integer r - Percent - 21,o
IdToken string r - - - 21,o
Timeout[In] integer r - s - 21,o
Timeout[Out] integer r - s - 21,o
[BatteryCartridge]
SoC integer r - Percent - 21,o
SoH integer r - Percent - 21,o
WorkingMode OptionList r - - - 21,o
[PaymentCtrlr]
Enabled boolean rw true - - 21,o
Problem boolean r false - - 21,o
AuthorizeDirectPayment boolean rw false - - 21,o
AuthorizationAmount decimal rw 50 - 0.. 21,o
IncrementalAuthorizationAmount decimal rw 0 - 0.. 21,o
IncrementalAuthorizationThreshold decimal rw - - 0.. 21,o
PaymentDetails MemberList rw - - - 21,o
SettlementByCSMS boolean rw false - - 21,o
ReceiptServerUrl string rw - - ..2000 21,o
ReceiptByCSMS boolean rw false - - 21,o
Merchant[Id] string rw - - - 21,o
Merchant[TaxId] string rw - - - 21,o
Merchant[Name] string rw - - - 21,o
Merchant[Address] string rw - - - 21,o
Merchant[City] string rw - - - 21,o
TerminalID string r - - - 21,o
PaymentServiceProvider string r - - - 21,o
VendorName string r - - - 21,o
Model string r - - - 21,o
SerialNumber string r - - - 21,o
FirmwareVersion string r - - - 21,o
IMSI string r - - - 21,o
ICCID string r - - - 21,o
Connected boolean r true - - 21,o
[WebPaymentsCtrlr]
Enabled boolean rw false - - 21,o
URLTemplate string rw - - ..2000 21,o
URLParameters MemberList r maxtime,maxenergy,maxcost - = 21,o
TOTPVersion OptionList rw v1 - = 21,o
RoamingEvseId string rw - - ..255 21,o
ValidityTime integer rw 30 s 6..3600 21,o
SharedSecret string w - - 1..255 21,o
Length integer rw 8 - 6..64 21,o
QRCodeQuality OptionList rw Medium - Low,Medium,Quartile,High 21,o
"""
