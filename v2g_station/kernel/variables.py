"""Every standard component and variable of OCPP 2.0.1 and 2.1, declared once (part 2, appendices 3), and two of our
own: EVSE.ChargeLimitedBy and EVSE.DischargeLimitedBy.

A line is a variable: `name[instance] type access default unit bounds flags`, `-` for none. Access is `r`, `w` or `rw`;
bounds are `low..high` for numbers and string lengths, else the values of a list (`=`: those of the default). Flags:
`21` or `201` for the only version that has it, `o` if it depends on the station's layout, and the attributes besides
Actual. Components that only some stations have are in `optional_variables`, in the same form.
"""

from typing import Final

WORDS: Final = {
    "$MEASURANDS": "Current.Import,Current.Offered,Energy.Active.Export.Register,Energy.Active.Import.Register,"
    "Frequency,Power.Active.Export,Power.Active.Import,Power.Offered,SoC,Voltage",
    "$SAMPLED": "Energy.Active.Import.Register,Energy.Active.Export.Register,"
    "Power.Active.Import,Power.Active.Export,SoC",
    "$V2X": "Current.Import,Energy.Active.Export.Register,Energy.Active.Import.Register,Frequency,"
    "Power.Active.Export,Power.Active.Import,Power.Active.Residual,Power.Active.Setpoint,Power.Offered,SoC,Voltage",
    "$POINTS": "ParkingBayOccupancy,EVConnected,Authorized,DataSigned,PowerPathClosed,EnergyTransfer",
    "$MODES": "Idle,ChargingOnly,CentralSetpoint,ExternalSetpoint,ExternalLimits,CentralFrequency,LocalFrequency,"
    "LocalLoadBalancing",
    "$STATES": "Available,Occupied,Reserved,Unavailable,Faulted",
    "$TRANSFERS": "AC_single_phase,AC_two_phase,AC_three_phase,DC,AC_BPT,AC_BPT_DER,AC_DER,DC_BPT,DC_ACDP,DC_ACDP_BPT,"
    "WPT",
    "$ISLANDING": "NoAntiIslandingSupport,RoCoF,UVP_OVP,UFP_OFP,VoltageVectorShift,ZeroCrossingDetection,OtherPassive,"
    "ImpedanceMeasurement,ImpedanceAtFrequency,SlipModeFrequencyShift,SandiaFrequencyShift,SandiaVoltageShift,"
    "FrequencyJump,RCLQFactor,OtherActive",
    "$DER": "EnterService,FreqDroop,FreqWatt,FixedPFAbsorb,FixedPFInject,FixedVar,Gradients,HFMustTrip,HFMayTrip,"
    "HVMustTrip,HVMomCess,HVMayTrip,LimitMaxDischarge,LFMustTrip,LVMustTrip,LVMomCess,LVMayTrip,"
    "PowerMonitoringMustTrip,VoltVar,VoltWatt,WattPF,WattVar",
}

DECLARED: Final = """
[AlignedDataCtrlr]
Available boolean r true - - -
Enabled boolean rw true - - -
Interval integer rw 0 s 0..86400 -
Measurands MemberList rw $SAMPLED - $MEASURANDS -
SendDuringIdle boolean rw false - - -
SignReadings boolean rw false - - -
TxEndedInterval integer rw 0 s 0..86400 -
TxEndedMeasurands MemberList rw - - $MEASURANDS -
SignUpdatedReadings boolean rw false - - 21
UpstreamInterval integer rw 0 s 0..86400 21
UpstreamMeasurands MemberList rw - - $MEASURANDS 21
[AuthCacheCtrlr]
Available boolean r true - - -
Enabled boolean rw true - - -
LifeTime integer rw 0 - 0.. -
Policy OptionList rw LRU - LRU,LFU,FIFO -
Storage integer r 0 B 0..524288 -
DisablePostAuthorize boolean rw false - - -
[AuthCtrlr]
AdditionalInfoItemsPerMessage integer r 4 - - -
AuthorizeRemoteStart boolean rw true - - -
Enabled boolean rw true - - -
LocalAuthorizeOffline boolean rw true - - -
LocalPreAuthorize boolean rw false - - -
MasterPassGroupId string rw - - ..36 -
OfflineTxForUnknownIdEnabled boolean rw false - - -
DisableRemoteAuthorization boolean rw false - - -
SupportedIdTokenType MemberList r Central,eMAID,ISO14443,ISO15693,KeyCode,Local,MacAddress,NoAuthorization - = 21
[ChargingStation]
AllowNewSessionsPendingFirmwareUpdate boolean rw false - - -
AvailabilityState OptionList r Available - $STATES -
Available boolean r true - - -
Model string r - - - -
SupplyPhases integer r 3 - - -
VendorName string r - - - -
ActiveTransactionId string r - - - 21
Problem boolean r false - - -
[ClockCtrlr]
DateTime dateTime r - - - -
NextTimeOffsetTransitionDateTime dateTime rw - - - -
NtpServerUri string rw - - - -
NtpSource OptionList rw manual - DHCP,manual -
TimeAdjustmentReportingThreshold integer rw 20 - 0.. -
TimeOffset string rw - - - -
TimeSource SequenceList rw Heartbeat,RealTimeClock - Heartbeat,NTP,RealTimeClock -
TimeZone string rw - - - -
TimeOffset[NextTransition] string rw - - - -
[ConnectedEV]
ProtocolAgreed string r - - - -
ProtocolSupportedByEV[<Priority>] string r - - - o
VehicleID string r - - - -
VehicleCertificate[Leaf] string r - - - 21,o
VehicleCertificate[SubCA1] string r - - - 21,o
VehicleCertificate[SubCA2] string r - - - 21,o
VehicleCertificate[Root] string r - - - 21,o
ACCurrent decimal r - A - 21,o,MinSet,MaxSet
DCCurrent decimal r - A - 21,o,MinSet,MaxSet,Target
DCVoltage decimal r - V - 21,o,MinSet,MaxSet,Target
Power decimal r - W - 21,o,MaxSet
DischargePower decimal r - W - 21,o,MaxSet
EnergyImport decimal r - Wh - 21,o,MaxSet,MinSet,Target
BatteryCapacity decimal r - Wh - 21,o
DepartureTime dateTime r - - - 21,o
RemainingTimeBulk integer r - s - 21,o
RemainingTimeFull integer r - s - 21,o
StateOfChargeBulk integer r - Percent - 21,o
StateOfCharge integer r - Percent - 21,o,MaxSet
ChargingCompleteBulk boolean r - - - 21,o
ChargingCompleteFull boolean r - - - 21,o
ChargingState OptionList r - - - 21,o
[Connector]
AvailabilityState OptionList r Available - $STATES -
Available boolean r true - - -
ChargeProtocol string r - - - -
ConnectorType string r - - - -
SupplyPhases integer r 3 - - -
SlotStatus OptionList r - - Open,Locked,Faulted 21,o
Problem boolean r false - - -
[CPPWMController]
State string r - - - -
[CustomizationCtrlr]
CustomTriggers MemberList r - - NotifyChargingLimit 21
[DeviceDataCtrlr]
BytesPerMessage[GetReport] integer r 65536 - - -
BytesPerMessage[GetVariables] integer r 65536 - - -
BytesPerMessage[SetVariables] integer r 65536 - - -
ConfigurationValueSize integer r 1000 - - -
ItemsPerMessage[GetReport] integer r 50 - - -
ItemsPerMessage[GetVariables] integer r 50 - - -
ItemsPerMessage[SetVariables] integer r 50 - - -
ReportingValueSize integer r 2500 - - -
ValueSize integer r 2500 - - -
[DisplayMessageCtrlr]
Available boolean r true - - -
DisplayMessages integer r 0 - 0..50 -
Enabled boolean rw true - - -
PersonalMessageSize integer r 512 - - 201
SupportedFormats MemberList r ASCII,UTF8,URI - ASCII,HTML,URI,UTF8,QRCODE -
SupportedPriorities MemberList r AlwaysFront,InFront,NormalCycle - = -
SupportedStates MemberList r Charging,Faulted,Idle,Unavailable - Charging,Faulted,Idle,Unavailable 21
Language OptionList rw en - en,de,fr,nl 21
[EVSE]
AllowReset boolean r true - - -
AvailabilityState OptionList r Available - $STATES -
Available boolean r true - - -
EvseId string r - - - -
Power decimal r 0 W 0.. -
SupplyPhases integer r 3 - - -
PhaseRotation OptionList r - - RST,RTS,SRT,STR,TRS,TSR -
ISO15118EvseId string rw ZZ00000 - 7..37 -
DischargePower decimal r 0 W 0.. 21
DCInputPhaseControl boolean r false - - 21
ChargingState OptionList r Idle - Idle,EVConnected,Charging,SuspendedEV,SuspendedEVSE 21
ActiveTransactionId string r - - - 21
ChargeLimitedBy string r - - - -
DischargeLimitedBy string r - - - -
[FiscalMetering]
EnergyExport decimal r 0 Wh - -
EnergyExportRegister decimal r 0 Wh - -
EnergyImport decimal r 0 Wh - -
EnergyImportRegister decimal r 0 Wh - -
PublicKey string r - - - 21
[ISO15118Ctrlr]
CentralContractValidationAllowed boolean rw true - - -
ContractValidationOffline boolean rw false - - -
SeccId string rw - - - -
MaxScheduleEntries integer r 1024 - - -
RequestedEnergyTransferMode OptionList r - - $TRANSFERS -
RequestMeteringReceipt boolean rw false - - -
CountryName string rw - - - -
OrganizationName string rw - - - -
PnCEnabled boolean rw true - - -
V2GCertificateInstallationEnabled boolean rw true - - -
ContractCertificateInstallationEnabled boolean rw true - - -
CertificateStatusSource MemberList r OCSP - CRL,OCSP 21
NotificationDelay integer rw 30 s 0.. 21
ServiceRenegotiationSupport boolean r true - - 21
SupportedProviders string r - - - 21
MaxPriceElements integer r 1024 - - 21
ProtocolSupported[1,2..20] string r - - - 21,o
Enabled boolean rw true - - -
[LocalAuthListCtrlr]
Available boolean r true - - -
BytesPerMessage integer r 65536 - - -
Enabled boolean rw true - - -
Entries integer r 0 - 0..1000 -
ItemsPerMessage integer r 100 - - -
Storage integer r 0 B 0..1048576 -
DisablePostAuthorize boolean rw false - - -
SupportsExpiryDateTime boolean r true - - 21
[MonitoringCtrlr]
Available boolean r true - - -
BytesPerMessage[ClearVariableMonitoring] integer r 65536 - - -
BytesPerMessage[SetVariableMonitoring] integer r 65536 - - -
Enabled boolean rw true - - -
ItemsPerMessage[ClearVariableMonitoring] integer r 50 - - -
ItemsPerMessage[SetVariableMonitoring] integer r 50 - - -
OfflineQueuingSeverity integer rw 4 - 0..9 -
MonitoringBase OptionList r All - All,FactoryDefault,HardWiredOnly -
MonitoringLevel integer r 9 - 0..9 -
ActiveMonitoringBase OptionList r All - All,FactoryDefault,HardWiredOnly -
ActiveMonitoringLevel integer r 9 - 0..9 -
MaxPeriodicEventStreams integer r 10 - - 21
[NetworkConfiguration]
OcppCsmsUrl string rw - - ..2000 21
OcppInterface OptionList rw - - Wired0,Wired1,Wired2,Wired3,Wireless0,Wireless1,Wireless2,Wireless3,Any 21
OcppTransport OptionList rw - - JSON 21
OcppVersion OptionList rw - - OCPP12,OCPP15,OCPP16,OCPP20,OCPP201,OCPP21 21
MessageTimeout integer rw - s 1.. 21
SecurityProfile integer rw - - 1..3 21
Identity string rw - - ..48 21
BasicAuthPassword string w - - 16..64 21
VpnEnabled boolean r false - - 21
ApnEnabled boolean r false - - 21
[OCPPCommCtrlr]
ActiveNetworkProfile string r 1 - - -
FileTransferProtocols MemberList r HTTP,HTTPS - FTP,FTPS,HTTP,HTTPS,SFTP -
HeartbeatInterval integer rw 300 s 1.. -
MessageTimeout[Default] integer r 30 s - -
MessageAttemptInterval[TransactionEvent] integer rw 10 - 0..86400 -
MessageAttempts[TransactionEvent] integer rw 5 - 1..100 -
NetworkConfigurationPriority SequenceList rw 1 - 1,2,3,4 -
NetworkProfileConnectionAttempts integer rw 3 - 1..100 -
OfflineThreshold integer rw 60 s 0.. -
PublicKeyWithSignedMeterValue OptionList rw EveryMeterValue - Never,OncePerTransaction,EveryMeterValue -
QueueAllMessages boolean rw false - - -
ResetRetries integer rw 0 - 0..10 -
RetryBackOffRandomRange integer rw 2 - 0..3600 -
RetryBackOffRepeatTimes integer rw 5 - 0..16 -
RetryBackOffWaitMinimum integer rw 1 - 0..3600 -
UnlockOnEVSideDisconnect boolean rw true - - -
WebSocketPingInterval integer rw 20 s 0..3600 -
FieldLength integer r - - - o
ExternalConfigChangeDate dateTime r - - - 21
[ReservationCtrlr]
Available boolean r true - - -
Enabled boolean rw true - - -
NonEvseSpecific boolean r true - - -
[SampledDataCtrlr]
Available boolean r true - - -
Enabled boolean rw true - - -
SignReadings boolean rw true - - -
TxEndedInterval integer rw 0 s 0..86400 -
TxEndedMeasurands MemberList rw $SAMPLED - $MEASURANDS -
TxStartedMeasurands MemberList rw $SAMPLED - $MEASURANDS -
TxUpdatedInterval integer rw 60 s 0..86400 -
TxUpdatedMeasurands MemberList rw $SAMPLED - $MEASURANDS -
RegisterValuesWithoutPhases boolean rw true - - -
SignStartedReadings boolean rw true - - 21
SignUpdatedReadings boolean rw false - - 21
UpstreamInterval integer rw 0 s 0..86400 21
UpstreamMeasurands MemberList rw - - $MEASURANDS 21
[SecurityCtrlr]
AdditionalRootCertificateCheck boolean r false - - -
BasicAuthPassword string w - - 16..64 -
CertificateEntries integer r 0 - 0..50 -
CertSigningRepeatTimes integer rw 3 - 0..10 -
CertSigningWaitMinimum integer rw 30 s 1..86400 -
Identity string rw - - 1..48 -
MaxCertificateChainSize integer r 10000 - - -
OrganizationName string rw - - 1..64 -
SecurityProfile integer r 1 - 0..3 -
AllowSecurityProfileDowngrade boolean rw false - - 21
[SmartChargingCtrlr]
ACPhaseSwitchingSupported boolean r false - - -
Available boolean r true - - -
Enabled boolean rw true - - -
Entries[ChargingProfiles] integer r 0 - 0..1000 -
ExternalControlSignalsEnabled boolean rw true - - -
LimitChangeSignificance decimal rw 1 Percent 0..100 -
NotifyChargingLimitWithSchedules boolean rw false - - -
PeriodsPerSchedule integer r 1024 - - -
Phases3to1 boolean r false - - -
ProfileStackLevel integer r 99 - - -
RateUnit MemberList r W - W,A -
ExternalConstraintsProfileDisallowed boolean rw false - - 21
ChargingProfilePersistence[TxProfile] boolean r true - - 21
ChargingProfilePersistence[LocalGeneration] boolean r false - - 21
ChargingProfilePersistence[ChargingStationExternalConstraints] boolean r false - - 21
SetpointPriority OptionList rw ExternalSystem - CSMS,ExternalSystem 21
MaxExternalConstraintsId integer rw - - - 21
SupportedAdditionalPurposes MemberList r PriorityCharging,LocalGeneration - = 21
SupportsDynamicProfiles boolean r true - - 21
SupportsMaxOfflineDuration boolean r true - - 21
SupportsUseLocalTime boolean r true - - 21
SupportsRandomizedDelay boolean r true - - 21
SupportsLimitAtSoC boolean r true - - 21
SupportsEvseSleep boolean r false - - 21
[TariffCostCtrlr]
Available[Tariff] boolean r true - - -
Available[Cost] boolean r true - - -
Currency string rw EUR - 3..3 -
Enabled[Tariff] boolean rw true - - -
Enabled[Cost] boolean rw true - - -
TariffFallbackMessage string rw - - ..255 -
TotalCostFallbackMessage string rw - - ..255 -
OfflineTariffFallbackMessage string rw - - ..255 21
Enabled[RunningCost] boolean rw true - - 21
TariffFallbackMessage[<language>] string r - - - 21,o
TotalCostFallbackMessage[<language>] string r - - - 21,o
OfflineTariffFallbackMessage[<language>] string r - - - 21,o
Interval[Tariff] integer rw 0 s 0.. 21
Interval[Cost] integer rw 60 s 1.. 21
MaxElements[Tariff] integer r 50 - - 21
ConditionsSupported[Tariff] boolean r true - - 21
HandleFailedTariff[Tariff] OptionList rw Deauthorize - Deauthorize,UseDefaultTariff,CentralCost 21
Problem boolean r false - - 21
[TokenReader]
Token string w - - - -
TokenType OptionList r - - Central,eMAID,ISO14443,ISO15693,KeyCode,Local,MacAddress,NoAuthorization -
[TxCtrlr]
ChargingTime decimal r 0 s - -
EVConnectionTimeOut integer rw 120 s 0..86400 -
MaxEnergyOnInvalidId integer rw 0 - 0.. -
StopTxOnEVSideDisconnect boolean rw true - - -
StopTxOnInvalidId boolean rw true - - -
TxBeforeAcceptedEnabled boolean rw true - - -
TxStartPoint MemberList rw PowerPathClosed - $POINTS -
TxStopPoint MemberList rw EVConnected,Authorized - $POINTS -
ResumptionTimeout integer rw 0 s 0..86400 21
AllowEnergyTransferResumption boolean rw true - - 21
EnergyTransferResumptionRandomRange integer rw 0 s 0..86400 21
SupportedLimits MemberList r maxCost,maxEnergy,maxSoC,maxTime - = 21
[V2XChargingCtrlr]
Enabled boolean rw true - - 21
SupportedEnergyTransferModes MemberList r AC_BPT,DC_BPT - AC_BPT,AC_BPT_DER,DC_BPT 21
SupportedOperationModes MemberList r $MODES - = 21
LocalFrequencyUpdateThreshold decimal rw 0 - - 21
TxStartedMeasurands[<OperationMode>] MemberList rw - - $V2X 21,o
TxEndedMeasurands[<OperationMode>] MemberList rw - - $V2X 21,o
TxUpdatedMeasurands[<OperationMode>] MemberList rw - - $V2X 21,o
TxEndedInterval[<OperationMode>] integer rw 0 s 0.. 21,o
TxUpdatedInterval[<OperationMode>] integer rw 0 s 0.. 21,o
LocalLoadBalancing[UpperThreshold] decimal rw - W - 21
LocalLoadBalancing[LowerThreshold] decimal rw - W - 21
LocalLoadBalancing[UpperOffset] decimal rw - W - 21
LocalLoadBalancing[LowerOffset] decimal rw - W - 21
[ConnectorPlugRetentionLock]
Problem boolean r false - - -
[Display]
Available boolean r true - - -
"""
