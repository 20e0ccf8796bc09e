"""Root certificates trusted by a station: installed, listed and deleted by the CSMS (M03 to M05)."""

import contextlib
import itertools
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from v2g import typed_json
from v2g.errors import CertificateError
from v2g.ocpp.messages import certificates as ocpp
from v2g.ocpp.messages.base import CertificateHashData, HashAlgorithm, Message, StatusInfo
from v2g.ocpp.messages.security import CertificateSigningUse
from v2g.pki.certificates import CLOCK_SKEW
from v2g.pki.conformity import extension, is_authority
from v2g.pki.verify import check_path
from v2g_station.kernel.kernel import Handler, Kernel, SavedDocuments, StationCommand, status_info

ROOTS: Final[tuple[ocpp.InstallCertificateUse, ...]] = (
    "CSMSRootCertificate",
    "V2GRootCertificate",
    "MORootCertificate",
    "OEMRootCertificate",
    "ManufacturerRootCertificate",
)
MAX_CERTIFICATES: Final = 50
_CODE: Final = frozenset({ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE})
UNREADABLE: Final = (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)
"""What reading a certificate's extensions may raise."""
_HASHES: Final[Mapping[str, hashes.HashAlgorithm]] = {
    "SHA256": hashes.SHA256(),
    "SHA384": hashes.SHA384(),
    "SHA512": hashes.SHA512(),
}


class StoredCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate, or a chain leaf first, PEM, with its use."""

    use: ocpp.GetCertificateIdUse
    pem: str


class _Own(msgspec.Struct, frozen=True, kw_only=True):
    chain: str


class RootsChanged(StationCommand, frozen=True, kw_only=True):
    """The roots of a kind have changed to these, PEM."""

    use: ocpp.InstallCertificateUse
    pem: tuple[str, ...]


def stored_chains(saved: SavedDocuments) -> dict[str, str]:
    """Return the chains in use when the station's program last stopped, PEM by use."""
    found = {}
    for use, body in saved.get("own_certificates", {}).items():
        with contextlib.suppress(msgspec.DecodeError):
            found[use] = typed_json.decode(body, _Own).chain
    return found


def parse_chain(pem: str) -> list[x509.Certificate]:
    """Return the certificates of a PEM text, empty if it is invalid."""
    try:
        return x509.load_pem_x509_certificates(pem.encode())
    except (ValueError, UnicodeError):
        return []


def hash_data(
    certificate: x509.Certificate, issuer: x509.Certificate | None, algorithm: HashAlgorithm = "SHA256"
) -> CertificateHashData:
    """Return the hashes that identify a certificate; without a known issuer it counts as its own (M03.FR.03)."""
    request = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer or certificate, _HASHES[algorithm]).build()
    return CertificateHashData(
        hash_algorithm=algorithm,
        issuer_name_hash=request.issuer_name_hash.hex(),
        issuer_key_hash=request.issuer_key_hash.hex(),
        serial_number=f"{certificate.serial_number:x}",
    )


def is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Return whether a CA has signed a certificate: not, say, a device with its key."""
    try:
        certificate.verify_directly_issued_by(issuer)
        return is_authority(issuer)
    except (*UNREADABLE, TypeError, InvalidSignature):
        return False


def may_sign_code(certificate: x509.Certificate) -> bool:
    """Return whether a certificate's key usages, where it has these extensions, permit signing code.

    OCPP 2.0.1 A00.FR.512 recommends key usage, .514 advises against extended key usage (RFC 5280 4.2.1.3, 4.2.1.12).
    """
    try:
        usage, extended = extension(certificate, x509.KeyUsage), extension(certificate, x509.ExtendedKeyUsage)
    except UNREADABLE:
        return False
    if usage is not None and not usage.value.digital_signature:
        return False
    return extended is None or not _CODE.isdisjoint(extended.value)


def is_current(certificate: x509.Certificate, utc_ms: int) -> bool:
    """Return whether a certificate is valid at a time, or will be soon: its CA's clock may be ahead."""
    now = datetime.fromtimestamp(utc_ms / 1000, UTC)
    return certificate.not_valid_before_utc <= now + CLOCK_SKEW and now <= certificate.not_valid_after_utc


class CertificateStore:
    """The roots of one station, the V2G chain that it presents to vehicles, and the chains of its own keys."""

    def __init__(
        self,
        kernel: Kernel,
        seeds: Iterable[StoredCertificate] = (),
        shown: Mapping[CertificateSigningUse, str] = MappingProxyType({}),
    ) -> None:
        """`seeds` are the roots of the configuration: each is installed once, may be deleted by the CSMS for good, and
        is removed when no longer configured. `shown` are the station's own chains in use, PEM: files may have been
        renewed manually."""
        self._k = kernel
        self._all = kernel.stored("certificates", StoredCertificate)
        self._update_seeds({_name_of(item): item for item in seeds})
        self._own: dict[str, str] = {
            use: item.chain for use, item in kernel.stored("own_certificates", _Own).items()
        } | dict(shown)
        self.answers: dict[str, Handler] = {
            "InstallCertificate": self._install,
            "DeleteCertificate": self._delete,
            "GetInstalledCertificateIds": self._list,
        }
        self._measure()

    def _update_seeds(self, seeds: Mapping[str, StoredCertificate]) -> None:
        known = self._k.stored_text("seeded_certificates")
        self._uses = {name.partition(".")[0] for name in (*known, *seeds)}
        for name in seeds.keys() - known.keys():
            self._k.keep_text("seeded_certificates", name, "")
            self._hold(seeds[name])
        gone = known.keys() - seeds.keys()
        for name in gone:
            self._k.forget("seeded_certificates", name)
        for key in [key for key, item in self._all.items() if _name_of(item) in gone]:
            del self._all[key]
            self._k.forget("certificates", key)

    def start(self) -> None:
        """Send the trusted roots to the hardware: a kill may have come between a change and its files."""
        for use in ROOTS:
            if use in self._uses or self.of(use):
                self._report(use)

    def of(self, use: ocpp.GetCertificateIdUse) -> list[x509.Certificate]:
        """Return the certificates of a kind, leaves first."""
        return [each for item in self._all.values() if item.use == use for each in parse_chain(item.pem)]

    def has(self, use: str) -> bool:
        """Return whether there is a valid certificate of a kind, or one for the station's own keys."""
        return use in self._own or any(
            is_current(certificate, self._k.utc_ms)
            for item in self._all.values()
            if item.use == use
            for certificate in parse_chain(item.pem)[:1]
        )

    def trusted(self, chain: list[x509.Certificate], use: ocpp.GetCertificateIdUse) -> bool:
        """Return whether a chain, leaf first, leads to a root of a kind."""
        return self.leads_to(chain, self.of(use))

    def leads_to(self, chain: list[x509.Certificate], roots: Iterable[x509.Certificate]) -> bool:
        """Return whether a chain, leaf first, leads to one of these by the rules of RFC 5280 6.1."""
        if not chain or not all(is_current(each, self._k.utc_ms) for each in chain):
            return False
        return any(_leads_to(chain, root) for root in roots)

    def own(self, use: CertificateSigningUse) -> list[x509.Certificate]:
        """Return the chain of one of the station's own keys, leaf first; empty without one."""
        return parse_chain(self.own_text(use))

    def own_text(self, use: CertificateSigningUse) -> str:
        """Return that chain as PEM."""
        return self._own.get(use, "")

    def keep_own(self, use: CertificateSigningUse, pem: str) -> None:
        """Store the chain of one of the station's own keys."""
        self._own[use] = pem
        self._k.keep("own_certificates", use, _Own(chain=pem))

    def keep_chain(self, pem: str) -> None:
        """Store the V2G chain that the station presents to vehicles, replacing the previous one."""
        for key in [key for key, item in self._all.items() if item.use == "V2GCertificateChain"]:
            self._forget(key)
        self._keep(StoredCertificate(use="V2GCertificateChain", pem=pem))

    # -- the CSMS

    def _install(self, request: ocpp.InstallCertificateRequest) -> Message:
        """M05."""
        chain = parse_chain(request.certificate)
        refused = self._refuse(chain, request.certificate_type)
        if refused is not None:
            return ocpp.InstallCertificateResponse(status="Rejected", status_info=refused)
        self._keep(StoredCertificate(use=request.certificate_type, pem=request.certificate))
        self._report(request.certificate_type)
        return ocpp.InstallCertificateResponse(status="Accepted")

    def _refuse(self, chain: list[x509.Certificate], use: ocpp.InstallCertificateUse) -> StatusInfo | None:
        """Return why a root is rejected, or None."""
        if len(chain) != 1:
            return status_info("InvalidCertificate", "one certificate in PEM is expected")
        certificate = chain[0]
        if not is_current(certificate, self._k.utc_ms):
            return status_info("InvalidCertificate", "not valid now")
        try:
            authority = is_authority(certificate)
        except UNREADABLE:
            authority = False
        if not authority:
            return status_info("InvalidCertificate", "not a certification authority")
        if len(self._all) >= MAX_CERTIFICATES:
            return status_info("OutOfStorage")
        if use == "CSMSRootCertificate" and self._k.model.flag("SecurityCtrlr.AdditionalRootCertificateCheck"):
            old = self.of(use)
            if old and not any(is_issued_by(certificate, each) for each in old):
                return status_info("InvalidCertificate", "not signed by the root before it")  # M05.FR.10, .11
        return None

    def _delete(self, request: ocpp.DeleteCertificateRequest) -> Message:
        """M04."""
        wanted = request.certificate_hash_data
        for key, item in list(self._all.items()):
            if _same(_hashes_of(item, wanted.hash_algorithm)[0], wanted):
                # whether the CSMS could not be verified without it (M04.FR.03)
                secure = self._k.model.number("SecurityCtrlr.SecurityProfile") > 1
                own = parse_chain(item.pem)
                others = (each for each in self.of("CSMSRootCertificate") if each not in own)
                last = not any(is_current(each, self._k.utc_ms) for each in others)
                if secure and item.use == "CSMSRootCertificate" and last:
                    return ocpp.DeleteCertificateResponse(
                        status="Failed", status_info=status_info("NotEnabled", "the last one")
                    )
                self._forget(key)
                if item.use != "V2GCertificateChain":
                    self._report(item.use)
                return ocpp.DeleteCertificateResponse(status="Accepted")
        if self._is_own(wanted):
            return ocpp.DeleteCertificateResponse(status="Failed", status_info=status_info("NotEnabled"))  # M04.FR.06
        return ocpp.DeleteCertificateResponse(status="NotFound")

    def _is_own(self, wanted: CertificateHashData) -> bool:
        chain = self.own("ChargingStationCertificate")
        if not chain:
            return False
        above = (each for each in (*chain, *self.of("CSMSRootCertificate")) if is_issued_by(chain[0], each))
        issuer = next(above, None)
        return _same(hash_data(chain[0], issuer, wanted.hash_algorithm), wanted)

    def _list(self, request: ocpp.GetInstalledCertificateIdsRequest) -> Message:
        """M03."""
        wanted = request.certificate_type
        found = []
        for item in self._all.values():
            listed = item.use != "OEMRootCertificate" or self._k.version != "2.0.1"  # which lacks this type
            if listed and (not wanted or item.use in wanted):
                names = _hashes_of(item, "SHA256")
                found.append(
                    ocpp.CertificateHashDataChain(
                        certificate_type=item.use,
                        certificate_hash_data=names[0],
                        child_certificate_hash_data=tuple(names[1:5]),
                    )
                )
        if not found:
            return ocpp.GetInstalledCertificateIdsResponse(status="NotFound")
        return ocpp.GetInstalledCertificateIdsResponse(status="Accepted", certificate_hash_data_chain=tuple(found))

    # -- storage

    def _keep(self, item: StoredCertificate) -> None:
        self._hold(item)
        self._measure()

    def _hold(self, item: StoredCertificate) -> None:
        """Store a certificate, replacing itself (M05.FR.17); different issuers may use the same serial numbers."""
        first = parse_chain(item.pem)[0]
        name = hash_data(first, None)
        same = (k for k, each in self._all.items() if each.use == item.use and parse_chain(each.pem)[0] == first)
        key = next(same, f"{name.serial_number}.{name.issuer_key_hash[:16]}.{item.use}")
        self._all[key] = item
        self._k.keep("certificates", key, item)

    def _forget(self, key: str) -> None:
        del self._all[key]
        self._k.forget("certificates", key)
        self._measure()

    def _report(self, use: ocpp.InstallCertificateUse) -> None:
        self._k.do(RootsChanged(use=use, pem=tuple(item.pem for item in self._all.values() if item.use == use)))

    def _measure(self) -> None:
        self._k.put("SecurityCtrlr.CertificateEntries", str(len(self._all)))


def _leads_to(chain: list[x509.Certificate], root: x509.Certificate) -> bool:
    path = chain if chain[-1] == root else [*chain, root]
    try:
        check_path(path)
    except (CertificateError, *UNREADABLE):
        return False
    return all(is_issued_by(one, two) for one, two in itertools.pairwise(path))


def _name_of(item: StoredCertificate) -> str:
    """Return a certificate's key among the seeds."""
    chain = parse_chain(item.pem)
    return f"{item.use}.{chain[0].fingerprint(hashes.SHA256()).hex() if chain else ''}"


def _hashes_of(item: StoredCertificate, algorithm: HashAlgorithm) -> list[CertificateHashData]:
    chain = parse_chain(item.pem)
    issuers = [*chain[1:], None]
    return [hash_data(one, issuer, algorithm) for one, issuer in zip(chain, issuers, strict=True)]


def _same(one: CertificateHashData, two: CertificateHashData) -> bool:
    return (
        one.issuer_name_hash.lower() == two.issuer_name_hash.lower()
        and one.issuer_key_hash.lower() == two.issuer_key_hash.lower()
        and one.serial_number.lower().lstrip("0") == two.serial_number.lower().lstrip("0")
    )
