"""`python -m bench`: every measurement on one real Kafka of its own, beside the bars it is held to.

Raw loop and choreo run alternately, each run in a process of its own and on topics that nobody has written to but the
fill; medians are printed. Other work on the machine slows both, so the ratio is the figure to trust.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from bench import startup
from bench.events import OrderPlaced
from bench.load import clean
from bench.report import Figure, facts, table, write
from tests.brokers import KafkaCluster

BATCH_MAX = 1000
PER_S = 50
IDLE_MAX = 0.02
BARS = {"hop": 0.9, "four": 0.75}
TITLES = {"hop": "one hop, {:,} sagas", "four": "four steps, {:,} sagas"}


class Bench:
    """One cluster and how much is asked of it."""

    def __init__(self, bootstrap: str, *, runs: int, quick: bool) -> None:
        self._bootstrap = bootstrap
        self._runs = runs
        self._quick = quick

    def beside(self, kind: str, sagas: int) -> list[Figure]:
        """The hand-written loop and choreo, alternately, on the same starts."""
        sagas = sagas // 10 if self._quick else sagas
        clean(self._bootstrap)
        self._measure("fill", sagas)
        runs: dict[str, list[dict[str, float]]] = {"raw": [], "choreo": []}
        for run in range(self._runs):
            for who, found in runs.items():
                clean(self._bootstrap, keep=[OrderPlaced.__choreo_topic__])
                found.append(last := self._measure(f"{who}-{kind}", sagas, BATCH_MAX))
                tell(
                    f"{kind} {run + 1}/{self._runs}: {who} {last['events_per_s']:,.0f} events/s, "
                    f"{last['cpu_us']:.0f} µs of processor each"
                )
        raw, choreo = _median(runs["raw"], "events_per_s"), _median(runs["choreo"], "events_per_s")
        raw_us, choreo_us = _median(runs["raw"], "cpu_us"), _median(runs["choreo"], "cpu_us")
        # What the load on the machine does to two runs in turn differs; their processor time does not.
        by_pair = statistics.median(
            each["events_per_s"] / beside["events_per_s"]
            for each, beside in zip(runs["choreo"], runs["raw"], strict=True)
        )
        said = f"{choreo:,.0f} events/s beside {raw:,.0f}: {choreo / raw:.0%} (pair by pair {by_pair:.0%})"
        bar, title = BARS[kind], TITLES[kind].format(sagas)
        return [
            Figure(title, said, f"≥ {bar:.0%}", met=choreo >= bar * raw),
            Figure(f"{title}, processor time an event", f"{choreo_us:.0f} µs beside {raw_us:.0f}", "", met=None),
        ]

    def hop(self) -> list[Figure]:
        return self.beside("hop", 200_000)

    def four(self) -> list[Figure]:
        return self.beside("four", 50_000)

    def latency(self) -> list[Figure]:
        clean(self._bootstrap)
        found = self._measure("latency", PER_S * (4 if self._quick else 20), PER_S)
        title = f"one hop at {PER_S} events/s, {{}}"
        return [
            Figure(title.format("median"), f"{found['p50_ms']:.1f} ms", "≤ 10 ms", met=found["p50_ms"] <= 10),
            Figure(title.format("99th percentile"), f"{found['p99_ms']:.1f} ms", "≤ 40 ms", met=found["p99_ms"] <= 40),
        ]

    def memory(self) -> list[Figure]:
        sagas = 100_000 if self._quick else 1_000_000
        clean(self._bootstrap)
        self._measure("fill-memory", sagas)
        found = self._measure("memory", sagas)
        title = f"{sagas:,} sagas at rest, {{}}"
        grown = f"{found['growth_mb']:.0f} MB (peak {found['peak_mb']:.0f})"
        return [
            Figure(title.format("growth of RSS"), grown, "≤ 600 MB", met=found["growth_mb"] <= 600),
            Figure(title.format("restored in"), f"{found['seconds']:.1f} s", "≤ 10 s", met=found["seconds"] <= 10),
        ]

    def startup(self) -> list[Figure]:
        clean(self._bootstrap)
        beyond = []
        for _ in range(self._runs):
            bare = self._measure("join")["seconds"]
            ours = startup.run_to_ready(self._bootstrap)
            tell(f"startup: ready after {ours:.2f} s, a bare client joins in {bare:.2f} s")
            beyond.append(ours - bare)
        over, helped = statistics.median(beyond), startup.helped()
        return [
            Figure("`choreo run`, exec to assigned, beyond the join", f"{over:.2f} s", "≤ 2 s", met=over <= 2),
            Figure("`choreo --help`", f"{helped:.2f} s", "≤ 0.2 s", met=helped <= 0.2),
        ]

    def timers(self) -> list[Figure]:
        count = 100_000 if self._quick else 1_000_000
        clean(self._bootstrap)
        found = self._measure("timers", count)
        title, idle = f"{count:,} waiting timers, {{}}", found["idle_cpu"]
        return [
            Figure(title.format("set"), f"{found['set_us']:.0f} µs and {found['bytes']:.0f} bytes each", "", met=None),
            Figure(title.format("restored in"), f"{found['restore_s']:.1f} s", "", met=None),
            Figure(title.format("fired"), f"{found['fire_us']:.0f} µs each", "", met=None),
            Figure(
                title.format("processor while they wait"),
                f"{found['idle_cpu']:.1%}",
                "≈ 0",
                met=idle < IDLE_MAX,
            ),
        ]

    def beside_one(self) -> list[Figure]:
        found = self._measure("beside", 2_000 if self._quick else 10_000)
        said = f"{found['beside_us']:.0f} µs beside {found['alone_us']:.0f}: {found['moved']:+.1%}"
        title = "99th percentile of a healthy step beside a saga that fails for an hour"
        return [Figure(title, said, "< 10 %", met=found["moved"] < 0.1)]

    def awaiting(self) -> list[Figure]:
        count = 5_000 if self._quick else 30_000
        clean(self._bootstrap)
        self._measure("fill", count)
        found = self._measure("awaiting", count)
        said = f"{found['events_per_s']:,.0f} events/s of {found['ideal']:,.0f}: {found['share']:.0%}"
        return [Figure("handlers that await 20 ms, 64 side by side", said, "≥ 80 %", met=found["share"] >= 0.8)]

    def _measure(self, name: str, *numbers: int) -> dict[str, float]:
        command = [sys.executable, "-m", "bench.measure", name, self._bootstrap, *map(str, numbers)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        result: dict[str, float] = json.loads(done.stdout)
        return result


def _median(runs: list[dict[str, float]], name: str) -> float:
    return statistics.median(each[name] for each in runs)


def tell(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="runs of each, alternating (5)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the load, to see that it works")
    parser.add_argument("--only", help="which measurements, by comma; all of them unless said")
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    chosen = parser.parse_args()
    with KafkaCluster(1, fast_start=False) as cluster:
        bench = Bench(cluster.bootstrap_servers, runs=chosen.runs, quick=chosen.quick)
        known: dict[str, Callable[[], list[Figure]]] = {
            "hop": bench.hop,
            "four": bench.four,
            "latency": bench.latency,
            "memory": bench.memory,
            "startup": bench.startup,
            "timers": bench.timers,
            "beside": bench.beside_one,
            "awaiting": bench.awaiting,
        }
        wanted = chosen.only.split(",") if chosen.only else list(known)
        if unknown := set(wanted) - set(known):
            parser.error(f"--only knows {', '.join(known)}, not {', '.join(sorted(unknown))}")
        figures = [figure for name in wanted for figure in known[name]()]
    text = f"{facts(runs=chosen.runs)}\n\n{table(figures)}"
    print(text)
    if chosen.write:
        write("figures", text)


if __name__ == "__main__":
    main()
