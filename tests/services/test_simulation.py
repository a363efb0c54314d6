"""The examples under every fault, their worlds held against what must be in them; and what is broken in them is found."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from choreo import Service
from choreo.testing import Simulation
from services.inventory import Stock
from services.oracle import COMPLETED, FAILED, Expected, expected
from services.order.purchases import order, read_purchases
from services.payment import Till
from services.shipping import Dispatch
from tests.choreographies import CHOREOGRAPHIES
from tests.choreographies.mutants import MUTANTS
from tests.choreographies.mutants.mutant import ORIGINALS
from tests.effort import part
from tests.services.test_marketplace import LOST, OK, REFUSED, audit, placed

SEEDS = 20
"""Runs within which what is broken is found."""
SEEDS_OF_WHAT_IS_RIGHT = part(2, of=5)
ROUGH = {"crash": 0.3, "fail": 0.2, "duplicate": 0.5, "delay": 0.3}
ALIKE = 3
"""Orders of one kind."""
CHECKOUTS = [placed(*wanted, checkout_id=f"C-{n}") for n, wanted in enumerate(((OK, OK), (OK, REFUSED), (OK, LOST)))]


def kinds_of_purchase() -> Iterator[list[int]]:
    """Yield the first line of each kind that purchases.csv has, by what must come of it; then lines of one kind alone.

    Those are for an address that nobody serves: their steps are overtaken by the failure.
    """
    found: dict[Expected, list[int]] = {}
    for number, row in enumerate(read_purchases()):
        found.setdefault(expected(row)._replace(earned=Decimal(), quantity=0), []).append(number)
    yield [kind[0] for kind in found.values()]
    yield found[Expected(FAILED, Decimal(), 0, frozenset({"AddressRejected"}))][:ALIKE]


def orders_add_up(services: tuple[Service, ...], folder: Callable[[int], Path], seed: int) -> None:
    rows = read_purchases()
    for place, chosen in enumerate(kinds_of_purchase()):
        data = folder(2 * seed + place)
        with Simulation(*services, seed=seed, **ROUGH) as s:
            for number in chosen:
                s.publish(order(number + 1, rows[number]))
            s.check()
        wanted = [expected(rows[number]) for number in chosen]
        with (
            closing(Till(data / "payment.db")) as till,
            closing(Stock(data / "inventory.db")) as stock,
            closing(Dispatch(data / "shipping.db")) as dispatch,
        ):
            (charged, voided), (reserved, released) = till.totals(), stock.totals()
            booked, cancelled = dispatch.totals()
        assert charged - voided == sum(each.earned for each in wanted)
        assert reserved - released == sum(each.quantity for each in wanted)
        assert booked - cancelled == Counter(each.outcome for each in wanted)[COMPLETED]


def checkouts_add_up(services: tuple[Service, ...], folder: Callable[[int], Path], seed: int) -> None:
    data = folder(seed)
    with Simulation(*services, seed=seed) as s:
        for each in CHECKOUTS:
            s.publish(each)
        s.check()
    audit(data, *CHECKOUTS)


Run = Callable[[tuple[Service, ...], Callable[[int], Path], int], None]
WORLDS: dict[str, Run] = {"order": orders_add_up, "marketplace": checkouts_add_up}
BROKEN = [name for name, each in MUTANTS.items() if each.tool == "simulation" and each.of not in CHOREOGRAPHIES]


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Path]:
    """Return what gives each run a folder of its own."""
    monkeypatch.setattr(logging.root.manager, "disable", logging.CRITICAL)

    def folder(run: int) -> Path:
        found = tmp_path / str(run)
        monkeypatch.setenv("SERVICES_DATA", str(found))
        return found

    return folder


@pytest.mark.parametrize("name", WORLDS)
def test_i6_an_example_adds_up_whatever_happens(name: str, fresh: Callable[[int], Path]):
    for seed in range(SEEDS_OF_WHAT_IS_RIGHT):
        WORLDS[name](ORIGINALS[name], fresh, seed)


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_in_an_example_is_found(name: str, fresh: Callable[[int], Path]):
    mutant = MUTANTS[name]
    services = mutant.made()

    def run() -> None:
        for seed in range(SEEDS):
            WORLDS[mutant.of](services, fresh, seed)  # type: ignore[arg-type]

    with pytest.raises(AssertionError):
        run()
