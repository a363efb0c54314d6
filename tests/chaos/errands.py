"""A choreography of everything that waits: retries, deadlines, delayed events, branches, parked steps.

What becomes of an errand follows from its number alone, so that `expected` can tell it; two services that share nothing but
events carry it out. `choreo run tests.chaos.errands:errands` and `…:hands` run them; `errand_judge` judges.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

from choreo import Context, Event, Failure, Later, Retry, Saga, Service

PARTS = 3
KINDS = ("plain", "retried", "late", "parked", "unknown", "nudged")
PATIENCE_S = 6.0
NUDGE_S = 2.0


class Placed(Event, topic="errands"):
    errand_id: str
    number: int


class Prepared(Event, topic="errand-hands"):
    number: int


class Unprepared(Event, topic="errand-hands"):
    known: bool


class Unknown(Failure, topic="errand-hands"):
    pass


class PartAsked(Event, topic="errand-parts"):
    number: int
    part: int


class PartDone(Event, topic="errand-parts"):
    part: int


class PartUndone(Event, topic="errand-parts"):
    part: int | None


class Nudged(Event, topic="errands"):
    number: int


class Late(Failure, topic="errands"):
    pass


class Done(Event, topic="errands"):
    parts: int


class Failed(Event, topic="errands"):
    pass


errands = Service("errands")
errands.owns(Saga("errand", starts=Placed, completes=Done, fails=Failed, key="errand_id"))


@errands.handles
def wait(placed: Placed) -> Later[Nudged] | None:
    if kind_of(placed.number) != "nudged":
        return None
    return Later(Nudged(number=placed.number), after=timedelta(seconds=NUDGE_S), unless=Done)


@errands.handles
def split(prepared: Prepared | Nudged) -> list[PartAsked]:
    return [PartAsked(number=prepared.number, part=part) for part in range(PARTS)]


@errands.handles
def complete(done: list[PartDone]) -> Done:
    return Done(parts=len(done))


@errands.deadline(Done | Unknown, within=timedelta(seconds=PATIENCE_S))
def overdue(asked: Prepared) -> Late:
    return Late(reason="not all parts came")


@errands.handles
def fail(cause: Late | Unknown, prepared: Prepared | Unprepared) -> Failed:
    return Failed()


hands = Service("hands")


@hands.handles(retry=Retry(attempts=3, delay_s=0.1, delay_s_max=0.3))
def prepare(placed: Placed, ctx: Context) -> Prepared | None:
    kind = kind_of(placed.number)
    if kind in {"parked", "unknown"} or (kind == "retried" and ctx.attempt < 3):
        raise ConnectionError(f"{kind}, attempt {ctx.attempt}")
    return None if kind == "nudged" else Prepared(number=placed.number)


@hands.otherwise(prepare)
def give_up(placed: Placed, error: Exception) -> Unknown:
    if kind_of(placed.number) == "parked":
        raise ValueError("only a person can say")
    return Unknown(reason=str(error))


@hands.compensates
def unprepare(cause: Unknown, prepared: Prepared | None) -> Unprepared:
    return Unprepared(known=prepared is not None)


@hands.handles
async def do_part(asked: PartAsked) -> PartDone | None:
    return None if kind_of(asked.number) == "late" and asked.part == PARTS - 1 else PartDone(part=asked.part)


@hands.compensates
def undo_part(cause: Late, done: PartDone) -> PartUndone:
    return PartUndone(part=done.part)


def kind_of(number: int) -> str:
    """Return what an errand of this number meets."""
    return KINDS[number % len(KINDS)]


def expected(number: int) -> Counter[str]:
    """Return the events of an errand at rest, by type."""
    kind = kind_of(number)
    if kind == "unknown":
        return Counter({"Placed": 1, "Unknown": 1, "Unprepared": 1, "Failed": 1})
    parts = {"PartAsked": PARTS, "PartDone": PARTS}
    if kind == "nudged":
        return Counter({"Placed": 1, "Nudged": 1, "Done": 1} | parts)
    if kind == "late":
        return Counter(
            {"Placed": 1, "Prepared": 1, "Late": 1, "Failed": 1, "PartAsked": PARTS}
            | {"PartDone": PARTS - 1, "PartUndone": PARTS - 1}
        )
    return Counter({"Placed": 1, "Prepared": 1, "Done": 1} | parts)


def numbered() -> Iterator[Placed]:
    """Yield errands without end."""
    number = 0
    while True:
        yield Placed(errand_id=f"errand-{number}", number=number)
        number += 1
