"""`python -m bench.proofs`: what proving a choreography takes: `check`, `verify` and simulations, beside their bars.

No broker takes part. The order example's worlds are kept in memory (`tests.testing.world`), so that what is timed is
choreo; each simulated run is held against what purchases.csv says must come of its order.
"""

import argparse
import logging
import os
import platform
import time
from concurrent.futures import ProcessPoolExecutor

from bench.report import Figure, table, write
from choreo.checks import check_manifests
from choreo.verify import Bounds, verify
from tests.checks.large import large
from tests.testing.world import ALL as SERVICES
from tests.testing.world import simulated

RUNS = 10_000
PARTS = 20
CHAINS = {1: "each saga in one of them", 10: "each saga through ten", 100: "one saga through all"}


def runs(seeds: range) -> tuple[int, int]:
    """Run a simulation for each seed; return how many faults struck those that held, and how many did not."""
    logging.disable(logging.CRITICAL)
    struck, failed = 0, 0
    for seed in seeds:
        try:
            struck += len(simulated(seed).faults)
        except AssertionError:
            failed += 1
    return struck, failed


def simulation() -> Figure:
    step = RUNS // PARTS
    began = time.perf_counter()
    with ProcessPoolExecutor(os.cpu_count()) as processes:
        parts = list(processes.map(runs, [range(at, at + step) for at in range(0, RUNS, step)]))
    took = time.perf_counter() - began
    struck, failed = (sum(each) for each in zip(*parts, strict=True))
    said = f"{took:.0f} s; {struck:,} faults, {failed} runs failed"
    return Figure(f"{RUNS:,} simulated runs of the order example", said, "< 300 s", met=took < 300 and not failed)


def verification(bounds: Bounds, told: str, bar: str) -> Figure:
    began = time.perf_counter()
    [proof] = verify(*SERVICES, bounds=bounds)
    took = time.perf_counter() - began
    said = f"{took:.1f} s; {proof.states:,} states" + ("" if proof.holds else f"; {proof.breach}")
    met = proof.holds and took < 60 if bar else None
    return Figure(f"every run of the order example, {told}", said, bar, met=met)


def checking() -> list[Figure]:
    found = []
    for chain, told in CHAINS.items():
        manifests = large(100, chain)
        handlers = sum(len(each.handlers) for each in manifests)
        began = time.perf_counter()
        problems = check_manifests(manifests)
        took = time.perf_counter() - began
        said = f"{took:.2f} s; {handlers:,} handlers, {len(problems)} problems"
        found.append(Figure(f"`check` on 100 services, {told}", said, "< 2 s", met=took < 2 and not problems))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.proofs", description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    chosen = parser.parse_args()
    one_of_each = Bounds(duplicates=1, crashes=1, failures=0)
    figures = [
        *checking(),
        verification(one_of_each, "with one duplicate and one crash", "< 60 s"),
        verification(Bounds(), "and one step that fails", ""),
        simulation(),
    ]
    text = f"{os.cpu_count()} cores; Python {platform.python_version()}; one run of each.\n\n{table(figures)}"
    print(text)
    if chosen.write:
        write("proofs", text)


if __name__ == "__main__":
    main()
