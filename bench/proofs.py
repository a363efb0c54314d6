"""`python -m bench.proofs`: what proving a choreography takes: `check`, `verify` and simulations, beside their bars.

No broker takes part. The order example's worlds are kept in memory here, under the rule that a key works once, so that
what is timed is choreo; each simulated run is held against what purchases.csv says must come of its order.
"""

import argparse
import logging
import os
import platform
import time
from collections.abc import Hashable
from concurrent.futures import ProcessPoolExecutor
from decimal import Decimal

from bench.report import Figure, table, write
from choreo.lints import lints
from choreo.testing import Simulation
from choreo.verify import Bounds, verify
from services.inventory import Stock, inventory
from services.notification import Postbox, notifications
from services.oracle import expected
from services.order import OrderBook, orders
from services.order.purchases import order, read_purchases
from services.payment import Till, payments
from services.shipping import Dispatch, shipping
from tests.lints.large import large

SERVICES = (orders, inventory, payments, shipping, notifications)
RUNS = 10_000
PARTS = 20
CHAINS = {1: "each saga in one of them", 10: "each saga through ten", 100: "one saga through all"}
STRIDE = 7919
"""A prime: neighbouring seeds get purchases that lie far apart."""


class Keyed:
    """A world outside, in which a key works once, and one that was undone never again."""

    def __init__(self) -> None:
        self._done: dict[Hashable, Decimal] = {}
        self._undone: dict[Hashable, Decimal] = {}

    @property
    def kept(self) -> Decimal:
        """What was done and not undone, added up."""
        return sum((value for key, value in self._done.items() if key not in self._undone), Decimal(0))

    def do(self, key: str, value: Decimal | int) -> bool:
        return key not in self._undone and self._done.setdefault(key, Decimal(value)) is not None

    def undo(self, key: str) -> Decimal:
        return self._undone.setdefault(key, self._done.get(key, Decimal(0)))


class Tills(Keyed):
    def charge(self, key: str, _order_id: str, amount: Decimal) -> bool:
        return self.do(key, amount)

    def void(self, key: str, _order_id: str) -> Decimal:
        return self.undo(key).quantize(Decimal("0.01"))


class Stocks(Keyed):
    def reserve(self, key: str, _order_id: str, quantity: int) -> bool:
        return self.do(key, quantity)

    def release(self, key: str, _order_id: str) -> int:
        return int(self.undo(key))


class Parcels(Keyed):
    def book(self, key: str, _order_id: str) -> str | None:
        return "CD1" if self.do(key, 1) else None

    def cancel(self, key: str, _order_id: str) -> None:
        self.undo(key)


class Papers:
    """What is written down once and read by nobody here."""

    def end(self, *_: object) -> None: ...

    def post(self, *_: object) -> None: ...


def simulated(seeds: range) -> tuple[int, int]:
    """Run a simulation for each seed; return how many faults struck, and of how many runs something did not hold."""
    logging.disable(logging.CRITICAL)
    rows, struck, failed = read_purchases(), 0, 0
    for seed in seeds:
        number = seed * STRIDE % len(rows)
        till, stock, parcels, papers = Tills(), Stocks(), Parcels(), Papers()
        try:
            with Simulation(*SERVICES, seed=seed) as s:
                s.replace(orders, OrderBook, papers)
                s.replace(inventory, Stock, stock)
                s.replace(payments, Till, till)
                s.replace(shipping, Dispatch, parcels)
                s.replace(notifications, Postbox, papers)
                s.publish(order(number + 1, rows[number]))
            want = expected(rows[number])
            assert (till.kept, stock.kept) == (want.earned, want.quantity)
            assert parcels.kept == (want.outcome == "completed")
        except AssertionError:
            failed += 1
        struck += len(s.faults)
    return struck, failed


def simulation() -> Figure:
    step = RUNS // PARTS
    began = time.perf_counter()
    with ProcessPoolExecutor(os.cpu_count()) as processes:
        parts = list(processes.map(simulated, [range(at, at + step) for at in range(0, RUNS, step)]))
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
        problems = lints(manifests)
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
