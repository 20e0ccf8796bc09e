"""Hardware that a station may have, and the variables of any hardware component (part 2, appendices 3)."""

from typing import Final

PHYSICAL: Final = """
AccessBarrier AcDcConverter AcPhaseSelector Actuator AirCoolingSystem AreaVentilation BayOccupancySensor
BeaconLighting CableBreakawaySensor CaseAccessSensor ChargingStation ChargingStatusIndicator ConnectedEV
Connector ConnectorHolsterRelease ConnectorHolsterSensor ConnectorPlugRetentionLock ConnectorProtectionRelease
Controller ControlMetering CPPWMController DataLink Display DistributionPanel ElectricalFeed ELVSupply
EmergencyStopSensor EnvironmentalLighting EVRetentionLock EVSE ExternalTemperatureSensor FiscalMetering
FloodSensor GroundIsolationProtection Heater HumiditySensor LightSensor LiquidCoolingSystem
LocalAvailabilitySensor LocalController LocalEnergyStorage OverCurrentProtection OverCurrentProtectionRecloser
PowerContactor RCD RCDRecloser RealTimeClock ShockSensor SpacesCountSignage Switch TemperatureSensor
TiltSensor TokenReader UpstreamProtectionTrigger UIInput VehicleIdSensor
"""
"""Physical components, which may have any of the generic variables."""

GENERIC: Final = """
ACCurrent decimal A -
Active boolean - -
ACVoltage decimal V -
AllowReset boolean - -
Angle decimal Deg -
Attempts integer - -
Available boolean - -
Certificate string - -
Color string - -
Complete boolean - -
ConnectedTime decimal s -
Count integer - -
CurrentImbalance decimal Percent -
DataText string - -
DateTime dateTime - -
DCCurrent decimal A -
DCVoltage decimal V -
ECVariant string - -
Enabled boolean - -
Energy decimal Wh -
Entries integer - -
Fallback boolean - -
FanSpeed decimal RPM -
FirmwareVersion string - -
Force decimal N -
Formats MemberList - -
Frequency decimal Hz -
FuseRating decimal A -
Height decimal m -
Humidity decimal RH -
Hysteresis decimal Percent -
ICCID string - -
Impedance decimal Ohm -
IMSI string - -
Interval integer s -
Length decimal m -
Light decimal lx -
Manufacturer string - -
Message string - -
MinimumStatusDuration integer s -
Mode string - -
Model string - -
NetworkAddress string - -
Operated boolean - -
OperatingTimes string - -
Overload boolean - -
Percent decimal Percent -
PhaseRotation OptionList - -
PostChargingTime decimal s -
Power decimal W -
Problem boolean - -
Protecting boolean - -
SerialNumber string - -
SignalStrength decimal dBm -
State string - -
StateOfCharge decimal Percent -
Storage integer B -
SupplyPhases integer - -
Suspending boolean - -
Suspension boolean - -
Temperature decimal Celsius -
Time dateTime - -
Timeout decimal s -
Tries integer - -
Tripped boolean - -
VendorName string - -
VersionDate dateTime - -
VersionNumber string - -
VoltageImbalance decimal Percent -
CommunicationParent string - 21
ElectricalParent string - 21
LogicalParent string - 21
PhysicalParent string - 21
Label string - 21
"""
"""Name, type, unit and flags of variables that any component may have."""
