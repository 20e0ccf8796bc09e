"""References to keys: what they may say, and that a PIN is never part of them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evcc.config import ContractConfig
from tests.together import together
from v2g.config import parse_config
from v2g.errors import ConfigError
from v2g.pki.reference import KeyReference, PinSource

FOLDER = Path("/etc/v2g")


def read(text: str) -> KeyReference:
    return KeyReference.from_text(text, FOLDER)


@pytest.mark.parametrize(
    "text", ["keys/secc.key", "/etc/v2g/keys/secc.key", "file:keys/secc.key", "file:keys/secc%2Ekey"]
)
def test_files_are_relative_to_the_configuration(text: str) -> None:
    found = read(text)
    assert found.scheme == "file"
    assert found.path == Path("/etc/v2g/keys/secc.key")


def test_the_example_of_rfc_7512_is_read() -> None:
    """Section 3, with the PIN source that it shows."""
    found = read(
        "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;model=1.0;"
        "object=my-certificate;type=private;id=%69%95%3E%5C%F4%BD%EC%91;serial="
        "?pin-source=file:/etc/token_pin"
    )
    assert found.pkcs11["token"] == b"The Software PKCS#11 Softtoken"
    assert found.pkcs11["manufacturer"] == b"Snake Oil, Inc."
    assert found.pkcs11["id"] == bytes.fromhex("69953e5cf4bdec91")
    assert found.pin == PinSource("file", "/etc/token_pin")
    assert "type" not in found.pkcs11


@pytest.mark.parametrize(
    ("source", "pin"),
    [
        ("env:TPM_PIN", PinSource("env", "TPM_PIN")),
        ("credential:tpm", PinSource("credential", "tpm")),
        ("file:pin", PinSource("file", "/etc/v2g/pin")),
        ("pin", PinSource("file", "/etc/v2g/pin")),
    ],
)
def test_pins_come_from_files_variables_and_credentials(source: str, pin: PinSource) -> None:
    found = read(f"handle:0x81000001?pin-source={source}&tcti=device:/dev/tpmrm0")
    assert found.pin == pin
    assert found.handle == "0x81000001"
    assert found.options == {"tcti": "device:/dev/tpmrm0"}


@together(
    ("text", "words"),
    [
        ("", "Expected a file name"),
        ("a\0b", "Expected a file name"),
        ("pkcs11:token=car", "Expected object= or id="),
        ("pkcs11:token=car;object=a;object=b", "is listed twice"),
        ("pkcs11:object=a;slot-id=3", "Unknown key attribute `slot-id`"),
        ("pkcs11:object=a;type=cert", "type=private"),
        ("pkcs11:object=a?pin-value=1234", "PIN is not allowed here"),
        ("pkcs11:object=a?tcti=x", "Unknown key attribute `tcti`"),
        ("pkcs11:object=a?pin-source=", "pin-source="),
        ("pkcs11:object=a?pin-source=|cat", "pin-source="),
        ("file:a?pin-source=http://x", "pin-source="),
        ("file:a?pin-source=credential:../x", "pin-source="),
        ("handle:0x81", "persistent handle"),
        ("handle:0x40000001", "persistent handle"),
        ("vault:secret/key", "Expected a file name, file:, pkcs11: or handle:"),
    ],
)
def test_what_cannot_be_meant_is_said(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read(text)


def test_the_configuration_names_file_line_and_key() -> None:
    with pytest.raises(ConfigError, match=r"c\.toml:2: key: A PIN is not allowed here"):
        parse_config('chain = "c.pem"\nkey = "pkcs11:object=a?pin-value=1"\n', ContractConfig, name="c.toml")
    with pytest.raises(ConfigError, match=r"c\.toml:2"):
        parse_config('chain = "c.pem"\nkey = 3\n', ContractConfig, name="c.toml")
    config = parse_config('chain = "c.pem"\nkey = "c.key"\n', ContractConfig, name="/etc/v2g/c.toml")
    assert config.key == KeyReference.from_text("c.key", FOLDER) != KeyReference.from_text("c.key", Path("/"))
    assert hash(config.key) == hash(KeyReference.from_text("c.key", FOLDER))


@given(st.sampled_from(["", "file:", "pkcs11:", "handle:"]), st.text(max_size=60))
def test_any_text_is_a_reference_or_refused_with_words(scheme: str, rest: str) -> None:
    try:
        found = read(scheme + rest)
    except ValueError as error:
        words = str(error)
    else:
        words = str(found)
        assert found == read(scheme + rest)
    assert words
