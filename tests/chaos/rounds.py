"""Rounds of faults under load, then rest, then judgement.

Each round is one fault, drawn from a seed that is printed, while orders keep coming. `python -m tests.chaos.rounds 40`
runs it alone.
"""

import argparse
import itertools
import math
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from choreo import Publisher, Settings
from choreo.errors import TransportError
from choreo.kafka import KafkaTransport
from choreo.launch import apply_topics
from choreo.service import declarations
from choreo.tracker import Follower, Store, Tracker
from services.events import OrderPlaced
from services.inventory import inventory
from services.notification import notifications
from services.oracle import expected
from services.order import orders
from services.order.place import place
from services.order.purchases import order, read_purchases
from services.payment import payments
from services.shipping import shipping
from tests.brokers import KafkaCluster, KafkaProcess, wait_for, wait_in_sync
from tests.chaos import errand_judge
from tests.chaos.autopsy import autopsy
from tests.chaos.errands import errands, hands, numbered
from tests.chaos.judge import Evidence, consume, gather, judge, purchases, repeats, written
from tests.chaos.memories import disagreements
from tests.chaos.workers import SERVICES, Workers

ALL = (orders, inventory, payments, shipping, notifications, errands, hands)
ERRANDS_AN_ORDER = 0.08
BAD_RECORDS = 3
REST_TIMEOUT_S = 240.0
SHORT_REST_TIMEOUT_S = 150.0
ROUND_S = (0.5, 2.0)
LOAD_S = 1.0
LOAD_TIMEOUT_S = 30.0


class Chaos:
    """One run: a cluster, five workers, orders that keep coming, and faults.

    Args:
        brokers: How many brokers.
        seed: What the faults are drawn from.
        folder: For databases and logs.
        module: What the workers run; see `Workers`.
        partitions: How many each topic has.
    """

    def __init__(self, brokers: int, seed: int, folder: Path, module: str, partitions: int) -> None:
        self.random = random.Random(seed)
        self.folder = folder
        self.cluster = KafkaCluster(brokers)
        self.module = module
        self.partitions = partitions
        self.placed: set[str] = set()
        self.done: Counter[str] = Counter()
        self.revived = 0
        self.errands_placed: set[str] = set()
        self._stop = threading.Event()

    def __enter__(self) -> "Chaos":
        self.cluster.start()
        self.settings = Settings(
            bootstrap_servers=self.cluster.bootstrap_servers,
            partitions=self.partitions,
            replication=len(self.cluster.brokers),
            publish_timeout_s=120,
        )
        transport = KafkaTransport(self.settings.kafka_config())
        apply_topics(declarations(*ALL), transport, self.settings)
        transport.close()
        self.operator = errand_judge.Operator(self.cluster.bootstrap_servers)
        self.workers = Workers(self.cluster.bootstrap_servers, self.folder, self.module)
        for service in SERVICES:
            self.workers.start(service)
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self.workers.stop()
        self.cluster.stop()

    def place(self, source: Iterator[OrderPlaced], rate: float) -> threading.Thread:
        """Begin to place orders; what the brokers did not take in time is placed again, which is once."""

        def acknowledged(batch: Sequence[OrderPlaced]) -> None:
            self.placed.update(each.order_id for each in batch)

        def keep_placing() -> None:
            # A publisher that gave up may or may not have been heard: the same starts again are the same sagas.
            taken: list[OrderPlaced] = []

            def noted() -> Iterator[OrderPlaced]:
                for each in source:
                    taken.append(each)
                    yield each

            remaining = noted()
            while not self._stop.is_set():
                try:
                    with Publisher(orders, settings=self.settings) as publisher:
                        missing = [each for each in taken if each.order_id not in self.placed]
                        place(publisher, itertools.chain(missing, remaining), rate, self._stop, acknowledged)
                    return
                except TransportError as error:
                    self.done["publisher gave up"] += 1
                    print(f"the publisher tries again: {error}")

        thread = threading.Thread(target=keep_placing, name="placing", daemon=True)
        thread.start()
        return thread

    def place_errands(self, rate: float) -> threading.Thread:
        """Begin to place errands, beside the orders."""

        def keep_placing() -> None:
            source = numbered()
            errand = next(source)
            while not self._stop.is_set():
                try:
                    with Publisher(errands, settings=self.settings) as publisher:
                        while not self._stop.wait(1 / rate):
                            publisher.publish(errand)
                            self.errands_placed.add(errand.errand_id)
                            errand = next(source)
                except TransportError:
                    # It may or may not have been heard: the same start again is the same saga.
                    self.done["errands' publisher gave up"] += 1

        thread = threading.Thread(target=keep_placing, name="placing-errands", daemon=True)
        thread.start()
        return thread

    def stop_placing(self) -> None:
        """Have both publishers end."""
        self._stop.set()

    def fault(self, only: Sequence[str] = ()) -> str:
        """Do one thing that must not matter, one of `only` if any are named, and return its name."""
        faults: dict[str, Callable[[], None]] = {
            "SIGKILL": lambda: self.workers.kill(self.random.choice(SERVICES)),
            "SIGTERM": lambda: self.workers.terminate(self.random.choice(SERVICES)),
            "zombie": self._zombie,
            "SIGKILL two": self._kill_two,
        }
        # A broker alone, killed while it ends transactions, may call one committed without ever marking it so: readers
        # of committed records, and of committed offsets, then wait for ever. Three of them forget nothing.
        if len(self.cluster.brokers) > 1:
            faults |= {"broker kill -9": self._broker, "brokers in turn": self._brokers_in_turn}
        faults = {name: act for name, act in faults.items() if not only or name in only}
        # Every kind of fault comes before any comes again.
        fewest = min(self.done[name] for name in faults)
        name = self.random.choice([each for each in faults if self.done[each] == fewest])
        faults[name]()
        self.done[name] += 1
        self.revived += self.workers.revive()
        return name

    def _zombie(self) -> None:
        self.workers.replace(self.random.choice(SERVICES))
        time.sleep(self.random.uniform(1, 4))
        self.revived += self.workers.wake()

    def _kill_two(self) -> None:
        for service in self.random.sample(SERVICES, 2):
            self.workers.kill(service)

    def _broker(self) -> None:
        self._restart(self.random.choice(self.cluster.brokers), self.random.uniform(0, 2))

    def _brokers_in_turn(self) -> None:
        for broker in self.cluster.brokers:
            self._restart(broker, self.random.uniform(0.5, 2))

    def _restart(self, broker: KafkaProcess, away_s: float) -> None:
        broker.kill()
        time.sleep(away_s)
        broker.start()
        # With two of three away at once the cluster itself may refuse to write; that is Kafka's promise, not ours. The
        # others may not have noticed yet that this one was away: it is the one to ask.
        wait_for(f"127.0.0.1:{broker.port}", len(self.cluster.brokers))
        wait_in_sync(self.cluster.bootstrap_servers)

    def flowing(self) -> None:
        """Wait until orders are confirmed: faults before that hit nothing."""
        deadline = time.monotonic() + REST_TIMEOUT_S
        while time.monotonic() < deadline:
            self.revived += self.workers.revive()
            if any(True for _ in consume(self.cluster.bootstrap_servers, ("notifications",))):
                return
            time.sleep(0.2)
        raise AssertionError("no order was ever confirmed")

    def under_load(self, rate: float) -> None:
        """Wait until a second's orders have come in since the last fault: one that hits an idle system proves little."""
        enough = len(self.placed) + LOAD_S * rate
        deadline = time.monotonic() + LOAD_TIMEOUT_S
        while len(self.placed) < enough and time.monotonic() < deadline:
            time.sleep(0.05)

    def rest(self, patience_s: float, still_s: float) -> Evidence:
        """Wait until every placed order has ended and told its customer, or nothing comes; return the evidence."""
        bootstrap = self.cluster.bootstrap_servers
        deadline, still = time.monotonic() + patience_s, _Still()
        while True:
            self.revived += self.workers.revive()
            # All of it is read and judged only once it may be at rest: that takes seconds.
            told = {message.key() for message in consume(bootstrap, ("notifications",))}
            over = still.after(written(bootstrap)) > still_s or time.monotonic() > deadline
            if over or len(told) >= len(self.placed):
                evidence = gather(bootstrap)
                if over or not judge(evidence, self.placed, self.folder):
                    return evidence
            time.sleep(1)

    def errands_rest(self, patience_s: float, still_s: float) -> tuple[list[str], errand_judge.Errands]:
        """Mend what is parked until every errand has ended; return the breaches that are left, and the evidence."""
        deadline, still = time.monotonic() + patience_s, _Still()
        while True:
            self.revived += self.workers.revive()
            found = errand_judge.gather(self.cluster.bootstrap_servers)
            self.operator.mend(found)
            breaches = errand_judge.judge(found, self.errands_placed)
            seen = sum(len(events) for events in found.events.values()) + sum(found.notes.values())
            if not breaches or still.after(seen) > still_s or time.monotonic() > deadline:
                return breaches, found
            time.sleep(1)

    def redrive(self, patience_s: float) -> list[str]:
        """Send what could not be read to its topic again: it is set aside again, and does no harm."""
        command = [sys.executable, "-m", "choreo", "dlq", "redrive", "errands", "--all", "--yes"]
        command += ["--actor", "chaos", "--reason", "chaos", "--bootstrap-server", self.cluster.bootstrap_servers]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return [f"redrive: exit {done.returncode}: {done.stderr[-300:]}"]
        # Both services read the topic, and both have set every bad record aside twice.
        want = 2 * len(errand_judge.SERVICES) * BAD_RECORDS
        deadline = time.monotonic() + patience_s
        while (found := errand_judge.gather(self.cluster.bootstrap_servers).dead) != want:
            if time.monotonic() > deadline:
                return [f"dead letters of errands: {found} after a redrive, {want} expected"]
            time.sleep(0.5)
        return []

    def tracked(self) -> list[str]:
        """Follow all topics into a new store, and return where its counts differ from the oracle's (I5)."""
        path = self.folder / "tracker.db"
        transport = KafkaTransport(self.settings.kafka_config())
        follower = Follower(Store(path), transport)
        deadline = time.monotonic() + REST_TIMEOUT_S
        tracker = Tracker.open(f"sqlite:///{path}")
        while (follower.step(0.2) or not _caught_up(tracker)) and time.monotonic() < deadline:
            pass
        rows = purchases()
        want = Counter(expected(rows[int(each.partition("-")[0])]).outcome for each in self.placed)
        counts = tracker.counts().get("order-fulfilment", {})
        got = {str(state): count for state, count in counts.items() if count}
        breaches = [] if got == dict(want) else [f"I5: the tracker counts {got}, the oracle {dict(want)}"]
        breaches += disagreements(self.cluster.bootstrap_servers, f"sqlite:///{path}")
        follower.close()
        transport.close()
        return breaches


class _Still:
    """How long nothing has come any more."""

    def __init__(self) -> None:
        self._seen, self._since = -1, time.monotonic()

    def after(self, seen: int) -> float:
        """Return for how many seconds no more than this has been seen."""
        if seen != self._seen:
            self._seen, self._since = seen, time.monotonic()
        return time.monotonic() - self._since


def _caught_up(tracker: Tracker) -> bool:
    lag = tracker.lag()
    return lag.checked_at is not None and lag.records == 0


def run(
    rounds: int,
    *,
    brokers: int = 1,
    seed: int | None = None,
    rate: float = 150.0,
    partitions: int = 6,
    module: str = "tests.chaos.work",
    only: Sequence[str] = (),
    whole: bool = True,
    still_s: float = math.inf,
) -> tuple[list[str], dict[str, int]]:
    """Run rounds of faults and return (breaches, what happened).

    Args:
        rounds: How many faults; of all kinds, up to twice as many, until one has cost a commit that belonged to an effect.
        brokers: 1 or 3.
        seed: For a run again; drawn and printed otherwise.
        rate: Orders a second; after all 6,919 purchases their repeats follow.
        partitions: How many each topic has.
        module: What the workers run; see `Workers`.
        only: Kinds of fault, all unless named.
        whole: Go on until every purchase of the file has been placed, and wait for rest as long as it takes.
        still_s: Judge once nothing has come for so long, for a run in which events are lost.
    """
    seed = seed if seed is not None else random.SystemRandom().randrange(10**6)
    print(f"chaos: {rounds} rounds on {brokers} brokers, seed {seed}", flush=True)
    rows = read_purchases()
    source = (order(n, row, again) for again in itertools.count(1) for n, row in enumerate(rows, start=1))
    with (
        tempfile.TemporaryDirectory(prefix="choreo-chaos-") as name,
        Chaos(brokers, seed, Path(name), module, partitions) as chaos,
    ):
        thread, errand_thread = chaos.place(source, rate), chaos.place_errands(ERRANDS_AN_ORDER * rate)
        chaos.flowing()
        errand_judge.spoil(chaos.cluster.bootstrap_servers, BAD_RECORDS)
        for number in range(1, 2 * rounds + 1):
            if number > rounds and (only or repeats(chaos.folder)):
                break
            time.sleep(chaos.random.uniform(*ROUND_S))
            chaos.under_load(rate)
            began = time.monotonic()
            fault = chaos.fault(only)
            print(
                f"  round {number}: {fault}, {time.monotonic() - began:.1f} s; {len(chaos.placed)} placed", flush=True
            )
        while len(chaos.placed) < (len(rows) if whole else 0) and thread.is_alive():
            time.sleep(0.5)
        chaos.stop_placing()
        thread.join(180)
        errand_thread.join(180)
        patience_s = REST_TIMEOUT_S if whole else SHORT_REST_TIMEOUT_S
        evidence = chaos.rest(patience_s, still_s)
        breaches = judge(evidence, chaos.placed, chaos.folder)
        expecting = still_s < math.inf
        if breaches and expecting:
            # What is lost for certain is enough: errands need not come to rest too.
            patience_s = 0
        more, found = chaos.errands_rest(patience_s, still_s)
        breaches += more
        if not breaches:
            breaches = chaos.redrive(SHORT_REST_TIMEOUT_S) + chaos.tracked()
        figures = {
            "orders": len(chaos.placed),
            "errands": len(chaos.errands_placed),
            "retries of errands": found.notes["retried"],
            "errands that were late": sum(any(kind == "Late" for kind, _, _ in each) for each in found.events.values()),
            "errands parked": len(found.parked),
            "commands": chaos.operator.commands,
            "commands refused": found.notes["refused"],
            "effects whose commit was lost": repeats(chaos.folder),
            "steps overtaken by a failure": evidence.skipped,
            "parked": evidence.parked,
            "dead letters": evidence.dead,
            "workers that ended by themselves": chaos.revived,
            **chaos.done,
        }
        if breaches and not expecting:
            print("\n".join(autopsy(chaos.cluster.bootstrap_servers, chaos.workers, chaos.cluster.folder)), flush=True)
    print("  " + ", ".join(f"{name}: {count}" for name, count in figures.items()), flush=True)
    return breaches, figures


def main() -> int:
    """Run from a shell."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("rounds", type=int, nargs="?", default=40)
    parser.add_argument("--brokers", type=int, default=1, choices=(1, 3))
    parser.add_argument("--seed", type=int)
    parser.add_argument("--rate", type=float, default=150.0)
    parser.add_argument("--module", default="tests.chaos.work")
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--short", action="store_true", help="stop placing after the last round")
    chosen = parser.parse_args()
    breaches, _ = run(
        chosen.rounds,
        brokers=chosen.brokers,
        seed=chosen.seed,
        rate=chosen.rate,
        module=chosen.module,
        only=chosen.only,
        whole=not chosen.short,
    )
    for breach in breaches[:20]:
        print(breach)
    print(f"{len(breaches)} breaches")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
