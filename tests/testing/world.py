"""What the services of the order example do outside, kept in memory, so that it outlives whatever dies.

And a simulation of them. Nothing here needs pytest: other versions of Python run it, too.
"""

from decimal import Decimal

from choreo import Settings
from choreo.testing import Scenario, Simulation
from services.inventory import Stock, inventory
from services.notification import Postbox, notifications
from services.oracle import Expected, expected
from services.order import OrderBook, orders
from services.order.purchases import order, read_purchases
from services.payment import Till, payments
from services.shipping import Dispatch, shipping

ALL = (orders, inventory, payments, shipping, notifications)
PURCHASES = read_purchases()
MANY = {"crash": 0.1, "abort": 0.1, "lose": 0.1, "fail": 0.2, "duplicate": 0.5, "delay": 0.1}
AT_LEAST_ONCE = Settings.model_construct(delivery="at_least_once")


class Keyed:
    """A key works once, and one that was undone never again."""

    def __init__(self) -> None:
        self._done: dict[str, object] = {}
        self._undone: set[str] = set()
        self.calls: list[str] = []

    def do(self, key: str, what: object) -> bool:
        self.calls.append(key)
        if key not in self._undone:
            self._done.setdefault(key, what)
        return key not in self._undone

    def undo(self, key: str) -> object:
        self._undone.add(key)
        return self._done.get(key, 0)

    @property
    def kept(self) -> list[object]:
        return [what for key, what in self._done.items() if key not in self._undone]


class World:
    """The effects of all services; `into` has them kept here."""

    def __init__(self) -> None:
        self.stock, self.money, self.parcels, self.endings, self.mails = Keyed(), Keyed(), Keyed(), Keyed(), Keyed()

    def into(self, s: Scenario) -> "World":
        s.replace(inventory, Stock, self)
        s.replace(payments, Till, self)
        s.replace(shipping, Dispatch, self)
        s.replace(orders, OrderBook, self)
        s.replace(notifications, Postbox, self)
        return self

    def reserve(self, key: str, _order_id: str, quantity: int) -> bool:
        return self.stock.do(key, quantity)

    def release(self, key: str, _order_id: str) -> int:
        return self.stock.undo(key)

    def charge(self, key: str, _order_id: str, amount: Decimal) -> bool:
        return self.money.do(key, amount)

    def void(self, key: str, _order_id: str) -> Decimal:
        return Decimal(self.money.undo(key)).quantize(Decimal("0.01"))

    def book(self, key: str, _order_id: str) -> str | None:
        return "CD1" if self.parcels.do(key, 1) else None

    def cancel(self, key: str, _order_id: str) -> None:
        self.parcels.undo(key)

    def end(self, key: str, order_id: str, _ending: str) -> None:
        self.endings.do(key, order_id)

    def post(self, key: str, order_id: str, _body: str) -> None:
        self.mails.do(key, order_id)

    def assert_adds_up(self, want: Expected) -> None:
        """Assert that what is held for one order is what its outcome says (I6)."""
        assert sum(self.money.kept) == want.earned
        assert sum(self.stock.kept) == want.quantity
        assert len(self.parcels.kept) == (want.quantity > 0)


def simulated(seed: int, sagas: int = 1, **options: object) -> Simulation:
    """Run orders under faults, and see that what is held outside adds up, too."""
    world = World()
    with Simulation(*ALL, seed=seed, **options) as s:
        world.into(s)
        rows = [(seed * 7919 + number) % len(PURCHASES) for number in range(sagas)]
        for row in rows:
            s.publish(order(row + 1, PURCHASES[row]))
    if sagas == 1:
        world.assert_adds_up(expected(PURCHASES[rows[0]]))
    return s
