"""The cases for charging stations."""

from collections.abc import Mapping
from typing import Final

from v2g_testkit.ocpp.case import OcppCase
from v2g_testkit.ocpp.station_cases.block_a import A
from v2g_testkit.ocpp.station_cases.block_b import B_21, B
from v2g_testkit.ocpp.station_cases.block_c import C
from v2g_testkit.ocpp.station_cases.block_c_payment import C_PAYMENT
from v2g_testkit.ocpp.station_cases.block_d import D
from v2g_testkit.ocpp.station_cases.block_e import E_21, E
from v2g_testkit.ocpp.station_cases.block_f import F
from v2g_testkit.ocpp.station_cases.block_g import G
from v2g_testkit.ocpp.station_cases.block_h import H
from v2g_testkit.ocpp.station_cases.block_i import I
from v2g_testkit.ocpp.station_cases.block_j import J
from v2g_testkit.ocpp.station_cases.block_k import K_21, K
from v2g_testkit.ocpp.station_cases.block_l import L
from v2g_testkit.ocpp.station_cases.block_m import M
from v2g_testkit.ocpp.station_cases.block_n import N_21, N
from v2g_testkit.ocpp.station_cases.block_o import O
from v2g_testkit.ocpp.station_cases.block_p import P
from v2g_testkit.ocpp.station_cases.block_q import Q
from v2g_testkit.ocpp.station_cases.block_r import R
from v2g_testkit.ocpp.station_cases.iso_15118 import ISO_15118
from v2g_testkit.ocpp.station_tester import StationTest

STATION_CASES: Final[tuple[OcppCase[StationTest], ...]] = tuple(
    case
    for block in (A, B, B_21, C, C_PAYMENT, D, E, E_21, F, G, H, I, J, K, K_21, L, M, N, N_21, O, P, Q, R, ISO_15118)
    for case in block.cases
)

MISSING: Final[Mapping[str, tuple[str, ...]]] = {
    "needs the key of the back end's root in use, and a station that replaces it (AdditionalRootCertificateCheck)": (
        "B_47", "M_30-31",
    ),
    "asks for a value that the official schema does not allow": ("N_04", "N_07"),
    "needs a station without logs": ("N_34",),
    "published without a readable title or steps": ("M_100-101", "N_61"),
    "needs a station that swaps batteries": ("S_102-105",),
}  # fmt: skip
"""Certification cases for stations that the command does not have, by the reason: `B_47`; a range: `B_100-113`."""
