"""The latest sagas, as rows: what the tracker tells of them, at a pace that can be read.

Turning a saga's view into a row, and which rows stay on the screen, live here; asking the tracker and drawing do not.
Everything is plain data in and out.
"""

from collections.abc import Iterable, Sequence

from choreo import SagaState
from choreo.tracker import SagaView, StepStatus

from .screen import Row

KEPT_MAX = 100
CALM_ROWS = 3
"""Rows without a failure before one is preferred."""
COLUMNS = {
    ("inventory", "reserve"): "reserve",
    ("payments", "capture"): "capture",
    ("shipping", "check_address"): "address",
    ("shipping", "create"): "ship",
    ("orders", "confirm"): "confirm",
    ("notifications", "send_confirmation"): "notice",
    ("notifications", "send_cancellation"): "notice",
}
MARKS = {
    StepStatus.COMPLETED: "done",
    StepStatus.FAILED: "failed",
    StepStatus.COMPENSATED: "undone",
    StepStatus.COMPENSATING: "undoing",
    StepStatus.SKIPPED: "skipped",
    StepStatus.EXECUTING: "moving",
    StepStatus.RETRYING: "moving",
    StepStatus.PARKED: "parked",
    StepStatus.PENDING: "waiting",
}


def row(saga: SagaView) -> Row:
    """Return a saga as a row of the screen."""
    placed = next((event for event in saga.events if event.type == "orders.OrderPlaced"), None)
    total = placed.payload.get("total", "") if placed is not None and placed.payload else ""
    marks = {
        column: MARKS[step.status]
        for step in saga.steps
        if (column := COLUMNS.get((step.service, step.name))) is not None
    }
    reason = ", ".join(reason.text for reason in saga.reasons)
    return Row(saga.business_key, str(total), saga.state, marks, reason)


class Feed:
    """The rows on the screen, newest first.

    Orders are placed faster than anybody reads, so one saga a frame comes in: one that fails where none of the last few
    did, for those are the ones to look at, else one that doesn't. Those shown already stay and change in place.
    """

    def __init__(self) -> None:
        self._shown: dict[str, Row] = {}
        self._passed: set[str] = set()

    def unsettled(self) -> list[str]:
        """Return the order ids on the screen that may still change."""
        return [key for key, shown in self._shown.items() if not _settled(shown)]

    def take(self, latest: Iterable[SagaView], again: Iterable[SagaView] = ()) -> Sequence[Row]:
        """Take what the tracker says now and return the rows to show.

        Args:
            latest: The sagas that started last, newest first.
            again: Sagas asked for because they are on the screen.
        """
        rows = [row(saga) for saga in latest]
        for each in (*rows, *(row(saga) for saga in again)):
            if each.order_id in self._shown:
                self._shown[each.order_id] = each
        fresh = [each for each in rows if each.order_id not in self._shown and each.order_id not in self._passed]
        if fresh:
            calm = not any(each.reason for each in list(self._shown.values())[-CALM_ROWS:])
            chosen = next((each for each in fresh if bool(each.reason) is calm), fresh[0])
            self._shown[chosen.order_id] = chosen
        self._passed = {each.order_id for each in rows if each.order_id not in self._shown}
        while len(self._shown) > KEPT_MAX:
            del self._shown[next(iter(self._shown))]
        return list(self._shown.values())[::-1]


def _settled(shown: Row) -> bool:
    # The notice follows the end of the saga.
    return shown.state in {SagaState.COMPLETED, SagaState.FAILED} and shown.marks.get("notice") == "done"
