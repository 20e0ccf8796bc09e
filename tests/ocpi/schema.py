"""What several tests of ocpi use."""

import json
from pathlib import Path

SCHEMA = json.loads((Path(__file__).parents[1] / "vectors/ocpi/cdr-2.2.1.schema.json").read_text())
