"""What several tests of transport use."""

from pathlib import Path

from pki_tools.tree import PkiTree
from secc.config import ProgramConfig, load_config


def config(folder: Path, tree: PkiTree, more: str = "", top: str = "") -> ProgramConfig:
    """Return a charger's configuration; `more` stands in its TLS section."""
    text = f"""
data_dir = "{folder}"
{top}
[tls]
chain = "{tree.path("secc/chain.pem")}"
key = "{tree.path("secc/leaf.key")}"
v2g_roots = ["{tree.path("v2g/root.pem")}"]
oem_roots = ["{tree.path("oem/root.pem")}"]
{more}
[meter]
chain = "{tree.path("meter/chain.pem")}"
key = "{tree.path("meter/leaf.key")}"
"""
    return load_config(text, name="secc.toml")
