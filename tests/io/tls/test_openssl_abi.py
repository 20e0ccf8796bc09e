"""The compiled interface to OpenSSL is that of the declarations."""

from pathlib import Path

from v2g.io.tls import openssl_abi, openssl_ffi


def test_the_compiled_interface_is_up_to_date(tmp_path: Path) -> None:
    openssl_abi.compile_to(tmp_path / "made.py")
    assert Path(openssl_ffi.__file__).read_bytes() == (tmp_path / "made.py").read_bytes()
