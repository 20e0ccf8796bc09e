"""Network identifiers of published keys."""

import pytest

from v2g.slac.host import nid_of


@pytest.mark.parametrize(
    ("nmk", "nid"),
    [
        ("50D3E4933F855B7040784DF815AA8DB7", "B0F2E695666B03"),  # of the pass-phrase "HomePlugAV"
        ("B59319D7E8157BA001B018669CCEE30D", "026BCBA5354E08"),  # "HomePlugAV0123"
        ("3452235445AEF2D455FEFF31A3B303AD", "B1C913B5AA0702"),  # a test of EVerest
    ],
)
def test_published_vectors(nmk: str, nid: str) -> None:
    assert nid_of(bytes.fromhex(nmk)).hex().upper() == nid


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        nid_of(bytes(15))
