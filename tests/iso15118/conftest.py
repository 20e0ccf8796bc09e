"""The EXI processor that is not ours."""

from tests.exi.conftest import peer_codec, schema_folder

__all__ = ["peer_codec", "schema_folder"]
