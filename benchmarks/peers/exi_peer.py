"""Runs in the peer's environment: its EXI codec, used as in its own project and measured like ours.

Reads one JSON line per message (`name`, `namespace`, `exi_hex`), prints one JSON record. Arguments: number of warm-up
calls, and of measured calls. Self-contained: this project cannot be imported there.
"""

import json
import os
import sys
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_of_session() -> float:
    """Return the seconds of CPU used by all processes of this session: Python and the Java it started."""
    total = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == os.getsid(0):
            total += int(fields[11]) + int(fields[12])
    return total / TICKS


def main() -> None:
    """Measure."""
    uncounted, counted = int(sys.argv[1]), int(sys.argv[2])
    messages = [json.loads(line) for line in sys.stdin]
    from iso15118.shared.exi_codec import EXI
    from iso15118.shared.exificient_exi_codec import ExificientEXICodec
    from iso15118.shared.settings import SettingKey, shared_settings

    shared_settings.update({SettingKey.MESSAGE_LOG_JSON: False, SettingKey.MESSAGE_LOG_EXI: False})
    codec = EXI()
    codec.set_exi_codec(ExificientEXICodec())
    models = []
    for message in messages:
        octets = bytes.fromhex(message["exi_hex"])
        model = codec.from_exi(octets, message["namespace"])
        if codec.to_exi(model, message["namespace"]) != octets:
            raise SystemExit(f"{message['name']}: encoding does not reproduce the decoded input")
        models.append((octets, model, message["namespace"]))
    first_use = cpu_of_session()
    spans: list[tuple[list[float], list[float]]] = [([], []) for _ in models]
    clock = time.perf_counter_ns
    for turn in range(uncounted + counted):
        # alternating, as in a session: no message benefits from repetition
        for (octets, model, namespace), (decoding, encoding) in zip(models, spans, strict=True):
            start = clock()
            codec.from_exi(octets, namespace)
            between = clock()
            codec.to_exi(model, namespace)
            end = clock()
            if turn >= uncounted:
                decoding.append((between - start) / 1000)
                encoding.append((end - between) / 1000)
    calls = []
    for _ in range(200):
        start = clock()
        codec.get_exi_codec().get_version()
        calls.append((clock() - start) / 1000)
    result = {
        message["name"]: [sorted(each)[len(each) // 2] for each in pair]
        for message, pair in zip(messages, spans, strict=True)
    }
    sys.stdout.write(
        json.dumps({"first_use_s": first_use, "call_us": sorted(calls)[100], "microseconds": result}) + "\n"
    )


if __name__ == "__main__":
    main()
