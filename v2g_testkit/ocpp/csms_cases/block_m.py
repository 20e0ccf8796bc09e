"""Functional block M, certificates of stations that an operator manages: cases for back ends."""

from typing import Final

from v2g_testkit.ocpp.case import Block, Payload, Profile, precondition
from v2g_testkit.ocpp.certificates import Authority, is_certificate
from v2g_testkit.ocpp.csms_tester import CsmsTest

M: Final[Block[CsmsTest]] = Block(needs=("certificates are read",), booted=True)

_CORE: Final[tuple[Profile, ...]] = ("Core",)
_ISO: Final[tuple[Profile, ...]] = ("ISO 15118 Support",)
_CSMS: Final = "CSMSRootCertificate"
_MAKER: Final = "ManufacturerRootCertificate"
_ALGORITHMS: Final = ("SHA256", "SHA384", "SHA512")


# -- install


async def _install(t: CsmsTest, use: str, status: str = "Accepted") -> None:
    """Have the back end install a root, any that it has for this use."""
    t.answer("InstallCertificate", {"status": status})
    root = Authority(use, t.now()).pem
    sent = await t.asked(
        "InstallCertificate", "M05.FR.01", free=("certificate",), certificateType=use, certificate=root
    )
    t.check(is_certificate(sent["certificate"]), "M05.FR.01", "certificate is none")


def _installs(id: str, use: str, profiles: tuple[Profile, ...], status: str = "Accepted") -> None:  # noqa: A002
    @M.case(
        id, f"{use} that is installed" if status == "Accepted" else "Certificate that cannot be installed",
        also="M05.FR.01", profiles=profiles, needs=(f"install {use}",), quick=id == "TC_M_01_CSMS",
    )  # fmt: skip
    async def script(t: CsmsTest) -> None:
        """The back end sends a certificate of the right use, and continues after the answer."""
        await _install(t, use, status)
        await t.call("Heartbeat")


_installs("TC_M_01_CSMS", _CSMS, _CORE)
_installs("TC_M_02_CSMS", _MAKER, _CORE)
_installs("TC_M_03_CSMS", "V2GRootCertificate", _ISO)
_installs("TC_M_04_CSMS", "MORootCertificate", _ISO)
_installs("TC_M_05_CSMS", _CSMS, _CORE, "Failed")


# -- retrieve


def _hashes(algorithm: str = "SHA256") -> Payload:
    size = int(algorithm.removeprefix("SHA")) // 8
    return {
        "hashAlgorithm": algorithm,
        "issuerNameHash": "1f" * size,
        "issuerKeyHash": "2e" * size,
        "serialNumber": "3d",
    }


def _has(t: CsmsTest, *uses: str, algorithm: str = "SHA256") -> None:
    """Let the station have a certificate of each use."""
    chain = [{"certificateType": each, "certificateHashData": _hashes(algorithm)} for each in uses]
    t.answer("GetInstalledCertificateIds", {"status": "Accepted", "certificateHashDataChain": chain})


def _retrieves(
    id: str,  # noqa: A002
    title: str,
    *uses: str,
    profiles: tuple[Profile, ...],
    algorithms: tuple[str, ...] = ("SHA256",),
) -> None:
    @M.case(
        id, title, profiles=profiles,
        needs=("certificates are read", *(("certificates of several uses are read",) if len(uses) > 1 else ())),
    )  # fmt: skip
    async def script(t: CsmsTest) -> None:
        """The back end asks for certificates of exactly the uses that are meant."""
        for algorithm in algorithms:
            _has(t, *uses, algorithm=algorithm)
            await t.asked("GetInstalledCertificateIds", "M03.FR.01", certificateType=list(uses))


_retrieves("TC_M_12_CSMS", f"{_CSMS} by each hash", _CSMS, profiles=(), algorithms=_ALGORITHMS)
_retrieves("TC_M_13_CSMS", f"{_MAKER} that is there", _MAKER, profiles=_CORE)
_retrieves("TC_M_14_CSMS", "V2GRootCertificate that is there", "V2GRootCertificate", profiles=_ISO)
_retrieves("TC_M_15_CSMS", "V2GCertificateChain that is there", "V2GCertificateChain", profiles=_ISO)
_retrieves("TC_M_16_CSMS", "MORootCertificate that is there", "MORootCertificate", profiles=_ISO)
_retrieves("TC_M_17_CSMS", "Certificates of two uses", _CSMS, _MAKER, profiles=())


@M.case("TC_M_18_CSMS", "Certificates of every use")
async def retrieve_all(t: CsmsTest) -> None:
    """The back end asks without a use."""
    _has(t, _CSMS, _MAKER)
    await t.asked("GetInstalledCertificateIds", "M03.FR.01", without=("certificateType",))


@M.case("TC_M_19_CSMS", "Certificate that is not there", also="M03.FR.02")
async def retrieve_none(t: CsmsTest) -> None:
    """The back end asks for certificates of the right use, and continues after the answer NotFound."""
    await t.asked("GetInstalledCertificateIds", "M03.FR.01", certificateType=[_MAKER])
    await t.call("Heartbeat")


# -- delete


def _deletes(id: str, title: str, status: str, algorithms: tuple[str, ...]) -> None:  # noqa: A002
    @M.case(id, title, also="M04.FR.01", needs=("certificates are read", f"install {_CSMS}"))
    async def script(t: CsmsTest) -> None:
        """The back end names the certificate as the station did, by hashes of the same algorithm."""
        t.answer("DeleteCertificate", {"status": status})
        for algorithm in algorithms:
            with precondition():
                await _install(t, _CSMS)
                _has(t, _CSMS, algorithm=algorithm)
                await t.asked("GetInstalledCertificateIds", certificateType=[_CSMS])
            await t.asked("DeleteCertificate", "M04.FR.07", certificateHashData=_hashes(algorithm))
        await t.call("Heartbeat")


_deletes("TC_M_20_CSMS", "Delete a certificate", "Accepted", _ALGORITHMS)
_deletes("TC_M_21_CSMS", "Certificate that cannot be deleted", "Failed", ("SHA256",))
