"""The job on a cluster of Apache Flink, of which a task manager is killed: each finding once, as without a stream."""

import time
from pathlib import Path

import pytest

from tests.stream.cluster import LONG, Cluster, cluster, until
from tests.stream.fleet import embedded, fleet

pytestmark = LONG
__all__ = ["cluster"]

VEHICLES, SECONDS = 40, 3000


def written(folder: Path) -> list[bytes]:
    """Return what is committed: parts that are not hidden."""
    return [line for part in folder.glob("*/part-*") for line in part.read_bytes().splitlines()]


@pytest.mark.requirement("R125")
def test_a_task_manager_that_is_killed_costs_no_finding_and_doubles_none(
    cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = fleet(VEHICLES, SECONDS)
    records, findings = tmp_path / "records.jsonl", tmp_path / "findings"
    given = [*lines[:1000], b"no record", b'{"ev": 1}', b"\xff\xfe", b"", *lines[1000:]]
    records.write_bytes(b"".join(line + b"\n" for line in given))
    begun = time.process_time()
    expected = embedded(lines)
    embedded_s = time.process_time() - begun
    until(lambda: (cluster.ask("/overview") or {}).get("slots-available") == 2)
    job = cluster.submit(
        "--input", str(records), "--output", str(findings), "--lateness-s", "10", "--checkpoint-s", "1"
    )
    until(lambda: cluster.ask(f"/jobs/{job}/checkpoints")["counts"]["completed"] >= 2 and written(findings))
    before = len(written(findings))
    assert before < len(expected), "it is in the middle"
    cluster.kill(cluster.managers.pop())
    cluster.managers.append(cluster.add())
    until(lambda: cluster.ask(f"/jobs/{job}")["state"] == "FINISHED")
    assert cluster.ask(f"/jobs/{job}/checkpoints")["counts"]["restored"] >= 1
    assert sorted(written(findings)) == expected

    whole = tmp_path / "again"
    spent_s, begun = cluster.cpu_s(), time.monotonic()
    job = cluster.submit("--input", str(records), "--output", str(whole), "--lateness-s", "10", "--checkpoint-s", "10")
    until(lambda: cluster.ask(f"/jobs/{job}")["state"] == "FINISHED")
    spent_s, took_s = cluster.cpu_s() - spent_s, time.monotonic() - begun
    assert sorted(written(whole)) == expected
    with capsys.disabled():
        print(  # noqa: T201
            f"\n{len(lines)} records: {len(lines) / spent_s:,.0f} a second of CPU on Flink ({took_s:.0f} s with its "
            f"start, parallelism 2), {len(lines) / embedded_s:,.0f} embedded, without a database; killed after "
            f"{before} of {len(expected)} findings"
        )
