"""The marketplace: single services, then all four, in every order, until all is done or undone."""

import re
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

import services
from choreo import SagaState, Settings, check
from choreo.testing import Scenario, context
from services.marketplace.billing import Ledger, billing
from services.marketplace.billing.service import CARD_LIMIT, authorise, void
from services.marketplace.checkout import CheckoutBook, checkout
from services.marketplace.delivery import Depot, delivery
from services.marketplace.delivery.service import FRAGILE_MAX, carry, take_back
from services.marketplace.events import (
    CheckoutAbandoned,
    CheckoutCompleted,
    CheckoutFailed,
    CheckoutPlaced,
    Line,
    PackageAccepted,
    PackageCancelled,
    PackageDelivered,
    PackageLost,
    PackagePickedUp,
    PackageRefused,
    PackageReturned,
    PaymentAuthorised,
    PaymentRefused,
    PaymentVoided,
    SellerOrderPlaced,
)
from services.marketplace.sellers import Shelves, sellers
from services.marketplace.sellers.service import LINE_QUANTITY_MAX, accept, cancel
from tests.effort import part

FOLDER = Path(services.__file__).parent / "marketplace"
TUTORIAL = Path(services.__file__).parents[1] / "docs" / "tutorial" / "marketplace.md"
SERVICES = {"checkout": checkout, "billing": billing, "sellers": sellers, "delivery": delivery}
ALL = tuple(SERVICES.values())
TOPICS = ("checkouts", "billing", "sellers", "delivery")
SELLERS = ("Fern", "Moss", "Reed", "Sage", "Thyme", "Vetch", "Yarrow")
OK, REFUSED, LOST = "2", "12", "6!"
"""How many a seller is asked for, and `!` where that is fragile: what becomes of the package follows."""
RESTARTS, RECORDS_BETWEEN = 40, 13


def line(text):
    """Return a line of `Seller:quantity`, with `!` behind it where the article is fragile."""
    seller, _, quantity = text.partition(":")
    fragile = quantity.endswith("!")
    return Line(seller=seller, article="teapot", quantity=quantity.rstrip("!"), amount="10.00", fragile=fragile)


def placed(*wanted, checkout_id="C-1", total=None):
    """Return a checkout that asks one seller each for so much."""
    lines = [line(f"{seller}:{each}") for seller, each in zip(SELLERS, wanted, strict=False)]
    total = total if total is not None else 10 * len(lines)
    return CheckoutPlaced(checkout_id=checkout_id, lines=lines, total=total, card="4000")


@pytest.fixture(params=["exactly_once", "at_least_once"])
def settings(request):
    return Settings.model_construct(delivery=request.param)


# Each service alone.


def test_r11_a_key_works_once_in_both_directions(tmp_path):
    with closing(Ledger(tmp_path / "billing.db")) as ledger:
        assert ledger.hold("k", "C-1", Decimal("5.00"))
        assert ledger.hold("k", "C-1", Decimal("5.00"))
        assert ledger.void("k", "C-1") == ledger.void("k", "C-1") == Decimal("5.00")
        assert not ledger.hold("k", "C-1", Decimal("5.00"))
        assert ledger.void("unused", "C-1") == 0
        assert not ledger.hold("unused", "C-1", Decimal("5.00"))
        assert ledger.totals() == (Decimal("5.00"), Decimal("5.00"))
    with closing(Shelves(tmp_path / "sellers.db")) as shelves:
        assert shelves.take("k", "C-1", "Fern", 3)
        assert shelves.take("k", "C-1", "Fern", 3)
        assert shelves.gone() == {"Fern": 3}
        assert shelves.put_back("k", "C-1", "Fern", 2) == shelves.put_back("k", "C-1", "Fern", 3) == 2
        assert not shelves.take("k", "C-1", "Fern", 3)
        assert shelves.put_back("unused", "C-1", "Fern", 3) == 0
        assert not shelves.take("unused", "C-1", "Fern", 3)
        assert shelves.gone() == {"Fern": 1}
    with closing(Depot(tmp_path / "delivery.db")) as depot:
        assert depot.carry("k", "C-1", "Fern", 3, lost=False)
        assert depot.carry("k", "C-1", "Fern", 3, lost=False)
        assert depot.carry("broken", "C-1", "Moss", 6, lost=True)
        assert (depot.delivered(), depot.lost()) == ({"Fern": 3}, {"Moss": 6})
        assert depot.bring_back("k", "C-1", 3) == depot.bring_back("k", "C-1", 3) == 3
        assert depot.bring_back("broken", "C-1", 6) == 0
        assert depot.bring_back("unused", "C-1", 4) == 4
        assert not depot.carry("k", "C-1", "Fern", 3, lost=False)
        assert not depot.carry("unused", "C-1", "Fern", 4, lost=False)
        assert (depot.delivered(), depot.lost()) == ({}, {"Moss": 6})


def test_a_checkout_ends_once(tmp_path):
    with closing(CheckoutBook(tmp_path / "checkout.db")) as book:
        book.end("first", "C-1", "failed")
        book.end("first", "C-1", "failed")
        book.end("second", "C-1", "completed")
        assert book.endings() == {"C-1": "failed"}


def test_r11_a_step_that_comes_after_its_undoing_fails(tmp_path):
    burnt, used = context(undoes_key="k"), context(idempotency_key="k")
    reason = "no reason"
    with closing(Ledger(tmp_path / "billing.db")) as ledger:
        void(CheckoutAbandoned(checkout_id="C-1", reason=reason), None, burnt, ledger)
        assert isinstance(authorise(placed(OK), used, ledger), PaymentRefused)
    with closing(Shelves(tmp_path / "sellers.db")) as shelves:
        cancel(PackageReturned(checkout_id="C-1", seller="Fern", quantity=2, reason=reason), None, burnt, shelves)
        order = SellerOrderPlaced(checkout_id="C-1", seller="Fern", lines=[line("Fern:2")])
        assert isinstance(accept(order, used, shelves), PackageRefused)
    with closing(Depot(tmp_path / "delivery.db")) as depot:
        package = PackageAccepted(checkout_id="C-1", seller="Fern", quantity=2, fragile=0)
        cause = PackageRefused(checkout_id="C-1", seller="Moss", reason=reason)
        assert take_back(cause, None, package, burnt, depot).quantity == 2
        # It says that it was picked up all the same: something must be there to be undone, or its seller would wait.
        picked_up, lost = carry(package, used, depot)
        assert (type(picked_up), type(lost)) == (PackagePickedUp, PackageLost)
        assert take_back(cause, picked_up, package, burnt, depot).quantity == 2
        assert depot.delivered() == {}


# All together.


def audit(folder, *placed_checkouts):
    """Assert that money, stock and endings are what the checkouts themselves say (I6)."""
    good = [each for each in placed_checkouts if ends_well(each)]
    with closing(Ledger(folder / "billing.db")) as ledger:
        held, voided = ledger.totals()
    assert held - voided == sum(each.total for each in good)
    sold = Counter()
    for each in good:
        for one in each.lines:
            sold[one.seller] += one.quantity
    with closing(Shelves(folder / "sellers.db")) as shelves, closing(Depot(folder / "delivery.db")) as depot:
        assert depot.delivered() == sold
        assert shelves.gone() == sold + Counter(depot.lost())
    with closing(CheckoutBook(folder / "checkout.db")) as book:
        assert book.endings() == {
            each.checkout_id: "completed" if ends_well(each) else "failed" for each in placed_checkouts
        }
    with closing(sqlite3.connect(folder / "delivery.db")) as db:
        keys = db.execute("SELECT COUNT(*), COUNT(DISTINCT key) FROM returns").fetchone()
        assert keys[0] == keys[1]


def ends_well(each):
    """Whether a checkout must complete, from its lines alone."""
    return (
        each.total <= CARD_LIMIT
        and all(one.quantity <= LINE_QUANTITY_MAX for one in each.lines)
        and all(one.quantity <= FRAGILE_MAX for one in each.lines if one.fragile)
    )


def assert_done_or_undone(saga, order):
    """Assert that a saga is over, with nothing owed, and undone in the reverse of the order in which it was done."""
    emitted, view = saga.emitted, saga.view
    counts = Counter(emitted)
    asked = len({one.seller for one in order.lines}) if order.total <= CARD_LIMIT else 0
    assert view.violations == []
    assert view.flags == frozenset()
    assert counts[SellerOrderPlaced] == counts[PackageAccepted] + counts[PackageRefused] == asked
    if ends_well(order):
        assert view.state is SagaState.COMPLETED
        assert counts[PackageDelivered] == counts[PackageAccepted] == asked
        assert counts.keys().isdisjoint({PackageReturned, PackageCancelled, PaymentVoided, CheckoutFailed})
        assert emitted[-1] is CheckoutCompleted
        return
    assert view.state is SagaState.FAILED
    assert CheckoutCompleted not in counts
    assert emitted[-1] is CheckoutFailed
    assert counts[PaymentAuthorised] == counts[PaymentVoided] == counts[CheckoutAbandoned]
    assert counts[PackageAccepted] == counts[PackageReturned] == counts[PackageCancelled]
    assert counts[PackagePickedUp] == counts[PackageDelivered] + counts[PackageLost]
    if asked:
        assert emitted[-3:] == [CheckoutAbandoned, PaymentVoided, CheckoutFailed]
    by_branch = {}
    for each in saga.events:
        by_branch.setdefault(each.branch, []).append(type(each.event))
    del by_branch[""]
    for done in by_branch.values():
        assert done[-1] in (PackageCancelled, PackageRefused)
        if PackageReturned in done:
            assert done[-2:] == [PackageReturned, PackageCancelled]


def run(s, *orders, drive=None):
    """Run checkouts to their ends, judge them, and return what they are."""
    sagas = [s.publish(order) for order in orders]
    if drive is not None:
        drive(s, *sagas)
    s.settle()
    for saga, order in zip(sagas, orders, strict=True):
        assert_done_or_undone(saga, order)
    assert {state for state, number in s.tracker.counts()["checkout"].items() if number} <= {
        SagaState.COMPLETED,
        SagaState.FAILED,
    }
    return sagas


BASKETS = [
    (OK,),
    (REFUSED,),
    (LOST,),
    (OK, OK),
    (REFUSED, OK),
    (OK, LOST),
    (LOST, REFUSED),
    (LOST, LOST, OK),
    (OK, REFUSED, OK, LOST),
    (REFUSED, REFUSED, REFUSED),
    (OK, OK, OK, OK, OK, OK, OK),
    (OK, OK, OK, LOST, OK, OK, OK),
    (OK, REFUSED, OK, OK, LOST, OK, REFUSED),
]


def every_basket():
    """Return a checkout for every basket, and one that cannot be paid."""
    orders = [placed(*wanted, checkout_id=f"C-{number}") for number, wanted in enumerate(BASKETS)]
    return [*orders, placed(OK, OK, total="500.01", checkout_id="C-dear")]


def test_nothing_about_these_services_looks_wrong():
    assert check(*ALL) == []


@pytest.mark.parametrize("number", [1, 2, 7])
def test_r12_a_basket_of_any_number_of_sellers_is_delivered(services_data, settings, number):
    order = placed(*[OK] * number)
    with Scenario(*ALL, settings=settings) as s:
        [saga] = run(s, order)
        assert saga.event(CheckoutCompleted).packages == number
        assert saga.emitted.count(PackageDelivered) == number
    audit(services_data, order)


def test_a_payment_that_is_refused_asks_no_seller(services_data, settings):
    order = placed(OK, OK, total="500.01")
    with Scenario(*ALL, settings=settings) as s:
        [saga] = run(s, order)
        assert saga.emitted == [CheckoutPlaced, PaymentRefused, CheckoutFailed]
    audit(services_data, order)


def test_a_basket_with_nothing_in_it_cannot_be_placed():
    with pytest.raises(ValueError, match="lines"):
        CheckoutPlaced(checkout_id="C-1", lines=[], total="0.00", card="4000")


def test_r14_every_basket_is_delivered_or_undone(services_data, settings):
    orders = every_basket()
    with Scenario(*ALL, settings=settings) as s:
        sagas = run(s, *orders)
        assert {saga.event(CheckoutFailed).reason for saga in sagas if CheckoutFailed in saga.emitted} >= {
            "500.01 is above the card's limit",
            "Fern has 9 of teapot, not 12",
            "6 fragile articles from Moss broke on the way",
        }
    audit(services_data, *orders)


def one_seller_after_the_other(s, saga):
    """Take every seller's package to its end before the next seller reads anything."""
    for service in (billing, checkout):
        while s.step(service):
            pass
    for number in range(1, saga.emitted.count(SellerOrderPlaced) + 1):
        while sum(each in (PackageAccepted, PackageRefused) for each in saga.emitted) < number:
            assert s.step(sellers)
        while s.step(delivery):
            pass


@pytest.mark.parametrize("fate", [REFUSED, LOST], ids=["refused", "lost"])
@pytest.mark.parametrize(
    ("number", "before"), [(1, 0), (2, 0), (2, 1), (7, 0), (7, 3), (7, 6)], ids=lambda number: f"{number}"
)
def test_r15_a_failure_before_between_or_after_the_others_undoes_them_all(
    services_data, settings, number, before, fate
):
    order = placed(*[OK] * before, fate, *[OK] * (number - before - 1))
    with Scenario(*ALL, settings=settings) as s:
        [saga] = run(s, order, drive=one_seller_after_the_other)
        emitted = saga.emitted
        failed = emitted.index(PackageRefused if fate is REFUSED else PackageLost)
        assert emitted[:failed].count(PackageDelivered) == before, "the sellers before it had delivered"
        assert PackageDelivered not in emitted[failed:], "those after it were cancelled"
        assert emitted.count(PackageReturned) == number - (fate is REFUSED)
    audit(services_data, order)


@pytest.mark.parametrize("seed", range(part(8, of=50)))
def test_r21_in_any_order_all_arrives_or_all_is_undone_in_reverse(services_data, settings, seed):
    orders = every_basket()
    with Scenario(*ALL, settings=settings, seed=seed) as s:
        run(s, *orders)
    audit(services_data, *orders)


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("topic", TOPICS)
def test_r17_a_service_that_is_far_behind_with_a_topic_changes_nothing(services_data, service, topic):
    def behind(s, *_sagas):
        s.hold(topic, service=SERVICES[service])
        s.settle()
        s.release()

    orders = every_basket()
    with Scenario(*ALL) as s:
        run(s, *orders, drive=behind)
    audit(services_data, *orders)


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("seed", [None, 1][: part(1, of=2)])
def test_r10_restarts_in_between_change_nothing(services_data, settings, service, seed):
    def again_and_again(s, *_sagas):
        for _ in range(RESTARTS):
            for _ in range(RECORDS_BETWEEN):
                s.step()
            s.restart(SERVICES[service])

    orders = every_basket()
    with Scenario(*ALL, settings=settings, seed=seed) as s:
        run(s, *orders, drive=again_and_again)
    audit(services_data, *orders)


class Dying:
    """Does each effect and then fails, the first time: as a process that dies between an effect and its commit."""

    def __init__(self, path):
        super().__init__(path)
        self.met = set()

    def die(self, key, result):
        if key not in self.met:
            self.met.add(key)
            raise ConnectionError("gone, and nobody knows what was done")
        return result


class DyingLedger(Dying, Ledger):
    def hold(self, key, *rest):
        return self.die(key, super().hold(key, *rest))

    def void(self, key, *rest):
        return self.die(f"undo {key}", super().void(key, *rest))


class DyingShelves(Dying, Shelves):
    def take(self, key, *rest):
        return self.die(key, super().take(key, *rest))

    def put_back(self, key, *rest):
        return self.die(f"undo {key}", super().put_back(key, *rest))


class DyingDepot(Dying, Depot):
    def carry(self, key, *rest, **lost):
        return self.die(key, super().carry(key, *rest, **lost))

    def bring_back(self, key, *rest):
        return self.die(f"undo {key}", super().bring_back(key, *rest))


@pytest.fixture
def dying(services_data):
    """Return what the services are to use in place of their rows."""
    with (
        closing(DyingLedger(services_data / "billing.db")) as ledger,
        closing(DyingShelves(services_data / "sellers.db")) as shelves,
        closing(DyingDepot(services_data / "delivery.db")) as depot,
    ):
        yield [(billing, Ledger, ledger), (sellers, Shelves, shelves), (delivery, Depot, depot)]


@pytest.mark.parametrize("seed", [None, 1, 2, 3][: part(2, of=4)])
def test_r11_an_effect_without_its_commit_is_repeated_or_undone(services_data, settings, dying, seed):
    orders = every_basket()
    with Scenario(*ALL, settings=settings, seed=seed) as s:
        for each in dying:
            s.replace(*each)
        run(s, *orders)
    audit(services_data, *orders)


def test_r16_a_package_that_nobody_knows_was_picked_up_is_brought_back(services_data, dying):
    order = placed(OK, REFUSED)
    with Scenario(*ALL) as s:
        s.replace(*dying[2])
        [saga] = run(s, order)
        assert PackagePickedUp not in saga.emitted
        returned = saga.event(PackageReturned)
        assert (returned.seller, returned.quantity) == ("Fern", 2)
    with closing(sqlite3.connect(services_data / "delivery.db")) as db:
        assert db.execute("SELECT seller, quantity FROM packages").fetchall() == [("Fern", 2)]
    audit(services_data, order)


def test_r01_a_checkout_that_is_placed_twice_is_one_checkout(services_data, settings):
    order = placed(OK, OK)
    with Scenario(*ALL, settings=settings) as s:
        run(s, order, order)
        s.publish(order)
        s.settle()
    audit(services_data, order)


# The tutorial.


def blocks():
    return re.findall(r"^```python\n(.*?)^```$", TUTORIAL.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_tutorial_shows_the_code_that_runs():
    source = "\n".join(path.read_text(encoding="utf-8") for path in sorted(FOLDER.rglob("*.py")))
    shown = [part.strip() for block in blocks() if "Scenario" not in block for part in block.split("\n\n\n")]
    assert len(shown) == 9
    assert [part for part in shown if part not in source] == []


def test_the_test_of_the_tutorial_passes(tmp_path):
    [tests] = [block for block in blocks() if "Scenario" in block]
    (tmp_path / "test_tutorial.py").write_text(tests, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-W", "error", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio", "."],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(TUTORIAL.parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "20 passed" in done.stdout, done.stdout + done.stderr
