"""All cases for charging stations."""

from typing import Final

from v2g_testkit.ocpp.case import OcppCase
from v2g_testkit.ocpp.station_cases.block_a import A
from v2g_testkit.ocpp.station_cases.block_b import B
from v2g_testkit.ocpp.station_cases.block_b_21 import B_21
from v2g_testkit.ocpp.station_cases.block_c import C
from v2g_testkit.ocpp.station_cases.block_c_payment import C_PAYMENT
from v2g_testkit.ocpp.station_cases.block_d import D
from v2g_testkit.ocpp.station_cases.block_e import E
from v2g_testkit.ocpp.station_cases.block_e_21 import E_21
from v2g_testkit.ocpp.station_cases.block_f import F
from v2g_testkit.ocpp.station_cases.block_g import G
from v2g_testkit.ocpp.station_cases.block_h import H
from v2g_testkit.ocpp.station_cases.block_i import I
from v2g_testkit.ocpp.station_cases.block_j import J
from v2g_testkit.ocpp.station_cases.block_k import K
from v2g_testkit.ocpp.station_cases.block_k_21 import K_21
from v2g_testkit.ocpp.station_cases.block_l import L
from v2g_testkit.ocpp.station_cases.block_m import M
from v2g_testkit.ocpp.station_cases.block_n import N
from v2g_testkit.ocpp.station_cases.block_n_21 import N_21
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
