"""What pools send: any bytes end in a value or in the one documented error; both shapes are read alike (R217)."""

import contextlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pki_tools.tree import PkiTree
from v2g.errors import CertificateError, CodecError, RefusedError
from v2g.pki import pools
from v2g.pki.pools import PoolContract, PoolRoot, PoolShape, SealedContract, StoredContract
from v2g.pki.trust_list import read_trust_list

READERS: tuple[Callable[[bytes], object], ...] = (
    pools.read_roots,
    pools.read_contracts,
    pools.read_installation,
    pools.read_provisioning,
    pools.read_signing,
    pools.read_stored,
    pools.read_order,
    lambda body: pools.read_event(body, pools.event_signature("s", body), "s"),
    lambda body: read_trust_list(body, (), at=datetime.now(UTC)),
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                (
                    "RootCertificateCollection", "rootCertificates", "caCertificate", "rootType", "CCPResponse",
                    "emaidContent", "messageDef", "certificateInstallationRes", "signedContractDataCollection",
                    "OEMMessage", "vehicleCertificate", "contractData", "CTL", "list", "signature", "eventType",
                )
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)  # fmt: skip


@given(body=st.binary(max_size=200) | _JSON.map(lambda value: json.dumps(value).encode()))
def test_no_answer_is_a_traceback(body: bytes) -> None:
    for read in READERS:
        with contextlib.suppress(CodecError, CertificateError, RefusedError):
            read(body)


@pytest.mark.parametrize("shape", ["opcp", "opnc"])
def test_what_is_written_is_read_in_either_shape(pki: PkiTree, shape: PoolShape) -> None:
    def sent(value: Any) -> bytes:
        return json.dumps(value).encode()

    roots = (PoolRoot(kinds=("V2G",), certificate=pki.anchors("v2g")[0]),)
    assert pools.read_roots(sent(pools.write_roots(roots, shape))) == roots
    contracts = (PoolContract(emaid="DEV2GC00000001", response=b"1"), PoolContract(emaid="", response=b""))
    assert pools.read_contracts(sent(pools.write_contracts(contracts, "P", "N", shape))) == contracts
    chain = pki.chain("provisioning")
    for answer in (True, False):
        assert pools.read_provisioning(sent(pools.write_provisioning(chain, "N", shape, answer=answer))) == chain
        stored = StoredContract(emaid="E", pcid="P", namespace="N", response=b"\0")
        assert pools.read_stored(sent(pools.write_stored(stored, shape, answer=answer))) == stored
    wanted = SealedContract(
        emaid="E", pcid="P", namespace="N", chain=pki.chain("contract"), encrypted_key=b"k", dh_public_key=b"d"
    )
    assert pools.read_signing(sent(pools.write_signing(wanted, shape))) == wanted


def test_a_signature_counts_with_and_without_its_prefix() -> None:
    body = b'{"eventId":"1","eventType":"root.cert.added","payload":{}}'
    given_ = pools.event_signature("secret", body)
    for signature in (given_, given_.removeprefix("sha256="), f" {given_.upper()} "):
        assert pools.read_event(body, signature, "secret").kind == "root.cert.added"
    for signature in ("", "sha256=", given_[:-1], given_ + "0"):
        with pytest.raises(CertificateError):
            pools.read_event(body, signature, "secret")
