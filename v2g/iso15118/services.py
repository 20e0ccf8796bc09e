"""Service ids of ISO 15118-20 (Table 204), and those of Amendment 1 as public implementations of its draft use them."""

from enum import IntEnum


class ServiceId(IntEnum):
    """What serviceIDType numbers. 8 to 11 are Amendment 1's, not verified against its published text."""

    AC = 1
    DC = 2
    WPT = 3
    DC_ACDP = 4
    AC_BPT = 5
    DC_BPT = 6
    DC_ACDP_BPT = 7
    MCS = 8
    MCS_BPT = 9
    AC_DER_IEC = 10
    AC_DER_SAE = 11
    INTERNET = 65
    PARKING_STATUS = 66
