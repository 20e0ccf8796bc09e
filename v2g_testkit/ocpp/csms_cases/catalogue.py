"""The cases for back ends."""

from collections.abc import Mapping
from typing import Final

from v2g_testkit.ocpp.case import OcppCase
from v2g_testkit.ocpp.csms_cases.block_a import A
from v2g_testkit.ocpp.csms_cases.block_b import B
from v2g_testkit.ocpp.csms_cases.block_c import C_21, C
from v2g_testkit.ocpp.csms_cases.block_d import D
from v2g_testkit.ocpp.csms_cases.block_e import E_21, RESUMPTION, E
from v2g_testkit.ocpp.csms_cases.block_f import F
from v2g_testkit.ocpp.csms_cases.block_g import G
from v2g_testkit.ocpp.csms_cases.block_h import H
from v2g_testkit.ocpp.csms_cases.block_i import I_21, I
from v2g_testkit.ocpp.csms_cases.block_j import J
from v2g_testkit.ocpp.csms_cases.block_k import K_21, K_VEHICLES, K
from v2g_testkit.ocpp.csms_cases.block_l import L
from v2g_testkit.ocpp.csms_cases.block_m import M
from v2g_testkit.ocpp.csms_cases.block_n import N
from v2g_testkit.ocpp.csms_cases.block_o import O
from v2g_testkit.ocpp.csms_cases.block_p import P
from v2g_testkit.ocpp.csms_cases.block_q import Q
from v2g_testkit.ocpp.csms_cases.block_r import R
from v2g_testkit.ocpp.csms_cases.block_s import S
from v2g_testkit.ocpp.csms_cases.contracts import CONTRACTS
from v2g_testkit.ocpp.csms_tester import CsmsTest

_BLOCKS: Final = (
    A, B, C, C_21, D, E, E_21, F, G, H, I, I_21, J, K, K_21, K_VEHICLES, L, M, N, O, P, Q, R, S, CONTRACTS,
    RESUMPTION,
)  # fmt: skip

CSMS_CASES: Final[tuple[OcppCase[CsmsTest], ...]] = tuple(case for block in _BLOCKS for case in block.cases)

MISSING: Final[Mapping[str, tuple[str, ...]]] = {
    "published without a title or steps": ("M_101", "N_104", "O_100-101", "Q_111-112"),
}  # fmt: skip
"""Certification cases for back ends that the command does not have, by the reason: `M_101`, or a range: `O_100-101`."""
