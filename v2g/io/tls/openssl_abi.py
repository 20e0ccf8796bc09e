"""Compiles `openssl.h` to `openssl_ffi.py`: `python -m v2g.io.tls.openssl_abi`.

Programs load the latter in 4 ms; reading C takes 70 ms.
"""

from pathlib import Path


def compile_to(path: Path) -> None:
    """Write the compiled interface: a module with `ffi`, independent of machine and Python version."""
    import cffi

    ffi = cffi.FFI()
    ffi.cdef(Path(__file__).with_name("openssl.h").read_text("utf-8"))
    ffi.set_source("openssl_ffi", None)
    ffi.emit_python_code(str(path))


if __name__ == "__main__":
    compile_to(Path(__file__).with_name("openssl_ffi.py"))
