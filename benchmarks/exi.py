"""EXI: what a message costs to encode and decode, and what a program pays before its first message.

Prints one line per typical message of a DC session: size, microseconds to decode and to encode. Messages come from
the recorded sessions among the test vectors.
"""

import json
import subprocess
import sys
import timeit
from pathlib import Path

from v2g.exi import decode, encode
from v2g.iso15118.messages.schemas import NAMESPACES

VECTORS = Path(__file__).resolve().parents[1] / "tests" / "vectors" / "exi"

START_UP = """
import sys, time
from pathlib import Path

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

start = time.process_time()
import msgspec
outside, memory = time.process_time(), resident()
from v2g.exi import decode, encode
from v2g.iso15118.messages.schemas import NAMESPACES
for line in sys.stdin:
    uri, octets = line.split()
    encode(decode(bytes.fromhex(octets), NAMESPACES[uri]))
used = (resident() - memory) / 2**20
print(f"{(time.process_time() - outside) * 1e3:.0f} {(outside - start) * 1e3:.0f} {used:.1f}")
"""


def sessions() -> dict[str, tuple[str, str]]:
    """Return one recorded instance of each message: namespace and octets in hexadecimal, by name."""
    found: dict[str, tuple[str, str]] = {}
    for name in ("app_protocol", "iso20_common", "iso20_dc"):
        for line in (VECTORS / f"{name}.jsonl").read_text("utf-8").splitlines():
            vector = json.loads(line)
            if vector["variant"].startswith("session:") and not vector["fragment"]:
                known = found.get(vector["message"], ("", ""))[1]
                if len(vector["exi_hex"]) > len(known):
                    found[vector["message"]] = (vector["namespace"], vector["exi_hex"])
    return found


def microseconds(statement: str, names: dict[str, object]) -> float:
    """Return the best of five, in microseconds per call."""
    return min(timeit.repeat(statement, globals=names, number=500, repeat=5)) / 500 * 1e6


def main() -> None:
    """Print the table."""
    found = sessions()
    print(f"{'message':34} {'octets':>6} {'decode':>10} {'encode':>10}")
    totals = [0.0, 0.0]
    for name, (uri, text) in sorted(found.items()):
        octets, schema = bytes.fromhex(text), NAMESPACES[uri]
        names = {"decode": decode, "encode": encode, "octets": octets, "schema": schema}
        names["message"] = decode(octets, schema)
        times = [microseconds("decode(octets, schema)", names), microseconds("encode(message)", names)]
        totals = [total + each for total, each in zip(totals, times, strict=True)]
        print(f"{name:34} {len(octets):6} {times[0]:7.1f} us {times[1]:7.1f} us")
    print(f"{'mean of ' + str(len(found)):34} {'':6} {totals[0] / len(found):7.1f} us {totals[1] / len(found):7.1f} us")
    lines = "".join(f"{uri} {octets}\n" for uri, octets in found.values())
    done = subprocess.run([sys.executable, "-c", START_UP], input=lines, capture_output=True, text=True, check=True)
    cpu, outside, memory = done.stdout.split()
    print(
        f"start-up: {cpu} ms CPU and {memory} MiB to load, compile, decode and encode these {len(found)} messages once"
        f" (msgspec itself: {outside} ms)"
    )


if __name__ == "__main__":
    main()
