"""Services and a line to no brokers, for the publisher's tests."""

from collections.abc import Callable, Mapping, Sequence

from choreo.errors import BufferFull
from choreo.event import Event, Failure
from choreo.saga import Saga
from choreo.service import Service
from choreo.transport import Guarantees, Outgoing, Position, Reader, Sender, Source, TopicSpec, TopicState


class OrderPlaced(Event, topic="orders"):
    order_id: str
    note: str = ""


class OrderConfirmed(Event, topic="orders"):
    order_id: str


class ManagerApproved(Event, topic="approvals"):
    by: str


class ManagerRejected(Failure, topic="approvals"):
    by: str


class TripRequested(Event, topic="trips"):
    city: str


class TripBooked(Event, topic="trips"):
    city: str


orders = Service("orders")
orders.owns(Saga("order", starts=OrderPlaced, completes=OrderConfirmed, key="order_id"))
orders.publishes(ManagerApproved, ManagerRejected, by="a manager")


@orders.handles
def confirm(approved: ManagerApproved, order: OrderPlaced) -> OrderConfirmed:
    return OrderConfirmed(order_id=order.order_id)


trips = Service("trips")
trips.owns(Saga("trip", starts=TripRequested, completes=TripBooked))


@trips.handles
def book(trip: TripRequested) -> TripBooked:
    return TripBooked(city=trip.city)


class Line:
    """A transport whose sender keeps what it is given, and answers as told."""

    guarantees = Guarantees(exactly_once=False, isolation=False, compaction=False, durable=False)

    def __init__(self, topics: Sequence[str] = ("orders", "approvals", "trips", "choreo.manifests")) -> None:
        self.topics = topics
        self.sent: list[Outgoing] = []
        self.answers: Callable[[Outgoing], Exception | None] = lambda _: None
        self.silent = False
        self.full_times = 0
        self.left = 0
        self.closed = 0

    def events(self) -> list[Outgoing]:
        return [each for each in self.sent if each.topic != "choreo.manifests"]

    def sender(self) -> Sender:
        return self

    def enqueue(self, outgoing: Outgoing, done: Callable[[Exception | None], None]) -> None:
        if self.full_times and outgoing.topic != "choreo.manifests":
            self.full_times -= 1
            raise BufferFull("no room")
        self.sent.append(outgoing)
        if not self.silent or outgoing.topic == "choreo.manifests":
            done(self.answers(outgoing))

    def flush(self, timeout_s: float) -> int:
        return self.left

    def close(self) -> None:
        self.closed += 1

    def describe(self, names: Sequence[str] | None = None) -> dict[str, TopicState]:
        return {name: TopicState(name, 1) for name in self.topics if names is None or name in names}

    def source(self, *, group: str, topics: Sequence[str], memory_topic: str, delivery: str, instance: str) -> Source:
        raise NotImplementedError

    def reader(self, topics: Sequence[str], offsets: Mapping[Position, int] | None = None) -> Reader:
        raise NotImplementedError

    def create(self, specs: Sequence[TopicSpec]) -> None:
        raise NotImplementedError
