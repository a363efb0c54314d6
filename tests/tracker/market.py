"""A market's saga as topics hold it: parts in branches, retries, repair, a deadline, what comes later; all hand-made."""

from choreo.choreography import Choreography
from choreo.scope import opened
from tests.tracker.orders import Flow, full, handler, manifest, undo

WITHIN_S = 3600
FAILED = "PartMissing ChargeUnknown TooLate"
SAGA = {
    "name": "market",
    "starts": full("Ordered"),
    "completes": [full("Delivered")],
    "fails": [full("Cancelled")],
    "key": "order_id",
}
MARKET = manifest(
    "market",
    [
        handler("split", "Ordered", emits="PartOrdered", fan_out=True),
        handler("gather", "PartSent", "Charged", emits="Delivered", fan_in=True, gathers=0),
        handler("cancel", FAILED, emits="Cancelled"),
        handler(
            "late",
            "Ordered",
            emits="TooLate",
            kind="deadline",
            awaits=[full("Cancelled"), full("Delivered")],
            within_s=WITHIN_S,
        ),
    ],
    sagas=[SAGA],
)
SELLERS = manifest(
    "sellers",
    [
        handler("pack", "PartOrdered", emits="PartPacked PartMissing"),
        undo("unpack", FAILED, "PartPacked", "PartUnpacked", optional=True),
    ],
)
CARRIER = manifest("carrier", [handler("send", "PartPacked", "PartOrdered", emits="PartSent")])
BANK = manifest(
    "bank",
    [
        handler("charge", "Ordered", emits="Charged"),
        handler("gave_up", "Ordered", emits="ChargeUnknown", kind="otherwise", guards="charge"),
        undo("refund", FAILED, "Charged", "Refunded", optional=True),
    ],
)
REMINDERS = manifest("reminders", [handler("remind", "Ordered", emits="Reminded")])
MANIFESTS = [MARKET, SELLERS, CARRIER, BANK, REMINDERS]
GRAPH = Choreography(MANIFESTS)


class Market(Flow):
    saga_type = "market"
    owner = "market"
    graph = GRAPH
    manifests = MANIFESTS

    def __init__(self, key: str = "order-17", first_offset: int = 0, parts: int = 3) -> None:
        super().__init__(key, first_offset)
        self.parts = parts
        self.emit("Ordered")
        self.fork = self.step_key("market.split", "Ordered")

    def branch(self, path: int) -> str:
        return opened("", self.fork, path, self.parts)

    def split(self) -> None:
        for path in range(self.parts):
            self.emit(f"PartOrdered@{path}", "market.split", "Ordered", branch=self.branch(path))

    def pack(self, path: int) -> None:
        self.emit(f"PartPacked@{path}", "sellers.pack", f"PartOrdered@{path}", branch=self.branch(path))

    def miss(self, path: int) -> None:
        self.emit(f"PartMissing@{path}", "sellers.pack", f"PartOrdered@{path}", branch=self.branch(path))

    def send(self, path: int) -> None:
        causes = (f"PartOrdered@{path}", f"PartPacked@{path}")
        self.emit(f"PartSent@{path}", "carrier.send", *causes, branch=self.branch(path))

    def unpack(self, path: int, cause: str) -> None:
        packed = f"PartPacked@{path}"
        causes = (cause, packed)
        self.emit(f"PartUnpacked@{path}", "sellers.unpack", *causes, undoes=packed, branch=self.branch(path))

    def unpack_nothing(self, path: int, cause: str) -> None:
        key = self.step_key("sellers.pack", f"PartOrdered@{path}", self.branch(path))
        causes = (cause, f"PartOrdered@{path}")
        self.emit(f"PartUnpacked@{path}", "sellers.unpack", *causes, undoes=key, branch=self.branch(path))

    def charge(self) -> None:
        self.emit("Charged", "bank.charge", "Ordered")

    def refund(self, cause: str) -> None:
        self.emit("Refunded", "bank.refund", cause, "Charged", undoes="Charged")

    def gather(self) -> None:
        parts = [f"PartSent@{path}" for path in range(self.parts)]
        self.emit("Delivered", "market.gather", "Charged", *parts)
        self.end("Delivered", "completed")

    def cancel(self, cause: str) -> None:
        self.emit("Cancelled", "market.cancel", cause)
        self.end("Cancelled", "failed")

    def remind_later(self) -> None:
        self.note(
            "completed", "reminders.remind", "Ordered", reason="orders.Reminded is due at 2026-01-01T00:20:00+00:00"
        )

    def remind(self) -> None:
        self.emit("Reminded", "reminders.remind", "Ordered", pause_s=1200)

    def asked(self, kind: str, by: str, trigger: str, command_id: str, **more: object) -> None:
        """Note what came of a person's command."""
        told = {"actor": "ana", "reason": "it works again", "command_id": command_id}
        self.note(kind, by, trigger, **{**told, **more})


def delivered(key: str = "order-17", **more: int) -> Market:
    """Retries, a step that a person has tried again, and an event that comes later, on the way to completion."""
    flow = Market(key, **more)
    flow.remind_later()
    flow.split()
    flow.note("retried", "bank.charge", "Ordered", attempt=1, error="IOError: down", reason="again at once")
    flow.pack(0)
    for attempt in (1, 2):
        flow.note(
            "retried", "sellers.pack", "PartOrdered@1", branch=flow.branch(1), attempt=attempt, error="IOError: x"
        )
    flow.send(0)
    flow.note("parked", "sellers.pack", "PartOrdered@1", branch=flow.branch(1), attempt=3, error="IOError: y")
    flow.charge()
    flow.asked("resumed", "sellers.pack", "PartOrdered@1", "c-1", branch=flow.branch(1), pause_s=0)
    # It fails again at the same moment, before anybody can look.
    flow.note(
        "parked", "sellers.pack", "PartOrdered@1", branch=flow.branch(1), attempt=1, error="IOError: z", pause_s=0
    )
    flow.asked(
        "refused", "sellers.pack", "PartOrdered@0", "c-2", branch=flow.branch(0), error="retry: it is done already"
    )
    flow.pack(2)
    flow.asked("resumed", "sellers.pack", "PartOrdered@1", "c-3", branch=flow.branch(1))
    flow.pack(1)
    flow.send(2)
    flow.remind()
    flow.send(1)
    flow.gather()
    return flow


def part_missing(key: str = "order-17", **more: int) -> Market:
    """One part is missing: another is unpacked, a third was never begun, and the charge is refunded."""
    flow = Market(key, **more)
    flow.split()
    flow.pack(0)
    flow.charge()
    flow.send(0)
    flow.miss(1)
    flow.note("skipped", "sellers.pack", "PartOrdered@2", branch=flow.branch(2), reason="orders.PartMissing came first")
    flow.unpack(0, "PartMissing@1")
    flow.cancel("PartMissing@1")
    flow.unpack_nothing(2, "PartMissing@1")
    flow.note("parked", "bank.refund", "Charged", attempt=1, error="IOError: bank")
    flow.asked("resumed", "bank.refund", "Charged", "c-1")
    flow.refund("PartMissing@1")
    return flow


def given_up(key: str = "order-17", **more: int) -> Market:
    """The bank's retries are spent: what nobody knows of is undone, and a person takes that as done."""
    flow = Market(key, parts=1, **more)
    for attempt in (1, 2):
        flow.note("retried", "bank.charge", "Ordered", attempt=attempt, error="IOError: down")
    flow.split()
    flow.emit("ChargeUnknown", "bank.gave_up", "Ordered")
    flow.note(
        "skipped", "sellers.pack", "PartOrdered@0", branch=flow.branch(0), reason="orders.ChargeUnknown came first"
    )
    flow.cancel("ChargeUnknown")
    flow.unpack_nothing(0, "ChargeUnknown")
    key = flow.step_key("bank.charge", "Ordered")
    flow.note("parked", "bank.refund", key, attempt=1, error="IOError: bank")
    flow.asked("resolved", "bank.refund", key, "c-1", event_type="")
    return flow


def too_late(key: str = "order-17", **more: int) -> Market:
    """A part is parked until the deadline cancels it."""
    flow = Market(key, parts=2, **more)
    flow.split()
    flow.charge()
    flow.pack(1)
    flow.send(1)
    flow.note("parked", "sellers.pack", "PartOrdered@0", branch=flow.branch(0), attempt=1, error="IOError: x")
    flow.emit("TooLate", "market.late", "Ordered", pause_s=WITHIN_S)
    flow.note(
        "skipped",
        "sellers.pack",
        "PartOrdered@0",
        branch=flow.branch(0),
        reason="orders.TooLate came while it was parked",
    )
    flow.unpack_nothing(0, "TooLate")
    flow.unpack(1, "TooLate")
    flow.refund("TooLate")
    flow.cancel("TooLate")
    return flow


def resolved(key: str = "order-17", **more: int) -> Market:
    """A person says what came of a step, and takes another as done that nothing came of."""
    flow = Market(key, parts=1, **more)
    flow.note("parked", "reminders.remind", "Ordered", attempt=1, error="IOError: mail")
    flow.split()
    flow.note("parked", "sellers.pack", "PartOrdered@0", branch=flow.branch(0), attempt=3, error="IOError: x")
    flow.asked("resolved", "reminders.remind", "Ordered", "c-1", event_type="")
    packed = full("PartPacked")
    flow.asked("resolved", "sellers.pack", "PartOrdered@0", "c-2", branch=flow.branch(0), event_type=packed)
    flow.pack(0)
    flow.charge()
    flow.send(0)
    flow.emit("Delivered", "market.gather", "PartSent@0", "Charged")
    flow.end("Delivered", "completed")
    return flow


MARKETS = [delivered, part_missing, given_up, too_late, resolved]
