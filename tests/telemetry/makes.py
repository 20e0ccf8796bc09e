"""CAN frames of several makes, for tests of what becomes of them."""

MAKES = {
    "synthetic A, little-endian": (
        """VERSION ""
NS_ :
BS_:
BU_: B
BO_ 256 Pack: 8 B
 SG_ U : 0|16@1+ (0.1,0) [0|1000] "V" B
 SG_ I : 16|16@1- (0.1,0) [-1000|1000] "A" B
 SG_ SoC : 32|16@1+ (0.01,0) [0|100] "%" B
 SG_ Rpm : 48|16@1- (1,0) [-30000|30000] "rpm" B
BO_ 257 Place: 9 B
 SG_ Lat : 0|32@1- (1E-007,0) [-90|90] "deg" B
 SG_ Lon : 32|32@1- (1E-007,0) [-180|180] "deg" B
 SG_ Drive : 64|4@1+ (1,0) [0|15] "" B
VAL_ 257 Drive 0 "parked" 1 "city" 2 "highway" ;
""",
        {
            "Pack.U": "battery.voltage", "Pack.I": "battery.current", "Pack.SoC": "battery.soc",
            "Pack.Rpm": "motor.speed", "Place.Lat": "location.latitude", "Place.Lon": "location.longitude",
            "Place.Drive": "context",
        },
        ((256, "a00f9cff88137402"), (257, "40dd4a1f0020a10702")),
    ),
    "synthetic B, big-endian, other scales and offsets": (
        """VERSION ""
NS_ :
BS_:
BU_: B
BO_ 1840 HV: 8 B
 SG_ Volts : 7|16@0+ (0.5,0) [0|1000] "V" B
 SG_ Amps : 23|16@0- (0.25,-100) [-1000|1000] "A" B
 SG_ Charge : 39|8@0+ (0.5,0) [0|100] "%" B
 SG_ Motor : 47|12@0+ (4,-8000) [-8000|8380] "rpm" B
BO_ 1841 Nav: 8 B
 SG_ North : 7|28@0+ (1E-006,-90) [-90|90] "deg" B
 SG_ East : 27|29@0+ (1E-006,-180) [-180|180] "deg" B
BO_ 1842 Mode: 1 B
 SG_ Cycle : 7|3@0+ (1,0) [0|7] "" B
VAL_ 1842 Cycle 5 "highway" 1 "parked" ;
""",
        {
            "HV.Volts": "battery.voltage", "HV.Amps": "battery.current", "HV.Charge": "battery.soc",
            "HV.Motor": "motor.speed", "Nav.North": "location.latitude", "Nav.East": "location.longitude",
            "Mode.Cycle": "context",
        },
        ((1840, "032001686486d000"), (1841, "87e60a05bef28000"), (1842, "a0")),
    ),
    "synthetic C, extended ids, 64 bytes, multiplexed": (
        """VERSION ""
NS_ :
BS_:
BU_: B
BO_ 2566849536 All: 64 B
 SG_ MilliVolts : 384|32@1+ (0.001,0) [0|1000] "V" B
 SG_ DeciAmps : 7|16@0- (-0.1,0) [-1000|1000] "A" B
 SG_ HalfPercent : 500|12@1+ (0.025,0) [0|102] "%" B
BO_ 2566849537 Slow: 8 B
 SG_ Kind M : 0|8@1+ (1,0) [0|255] "" B
 SG_ Speed m0 : 8|24@1- (0.01,0) [-30000|30000] "rpm" B
 SG_ Latitude m1 : 8|24@1- (2E-005,0) [-90|90] "deg" B
 SG_ Longitude m1 : 32|32@1- (1E-006,0) [-180|180] "deg" B
 SG_ Trip m2 : 8|8@1+ (1,0) [0|255] "" B
VAL_ 2566849537 Trip 0 "city" 7 "highway" ;
""",
        {
            "All.MilliVolts": "battery.voltage", "All.DeciAmps": "battery.current", "All.HalfPercent": "battery.soc",
            "Slow.Speed": "motor.speed", "Slow.Latitude": "location.latitude",
            "Slow.Longitude": "location.longitude", "Slow.Trip": "context",
        },
        (
            (0x18FF0400, "0064" + "00" * 46 + "801a0600" + "00" * 10 + "007d"),
            (0x18FF0401, "0050f50000000000"),
            (0x18FF0401, "01e80d280050c300"),
            (0x18FF0401, "0207000000000000"),
        ),
    ),
}  # fmt: skip
"""DBC, mapping and frames of three makes, written for this test: one state of one vehicle."""
