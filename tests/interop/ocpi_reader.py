"""Reads objects of OCPI by ocpi-types, and writes them again; started by its own interpreter.

    python ocpi_reader.py < PAIRS

PAIRS are lines of JSON: version, name of the class, object. Prints what differs, or cannot be read.
"""

import importlib
import json
import sys


def main():
    """See above."""
    for line in sys.stdin:
        version, kind, sent = json.loads(line)
        known = getattr(importlib.import_module(f"ocpi_types.v{version.replace('.', '_')}"), kind)
        try:
            again = known.from_dict(sent).to_dict()
        except (AssertionError, AttributeError, KeyError, TypeError, ValueError) as error:
            again = f"{type(error).__name__}: {error}"
        if again != sent:
            lost = [name for name in sent if again.get(name) != sent[name]] if isinstance(again, dict) else again
            sys.stdout.write(json.dumps([version, kind, lost, sent]) + "\n")


if __name__ == "__main__":
    main()
