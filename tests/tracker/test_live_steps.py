"""What the tracker says about services that really run: branches, repair, deadlines. Rules 12, 16, 23, 28, 30 and I5.

Whatever the order in which records are delivered, the steps that the tracker shows are those that the services remember.
"""

import json
from collections.abc import Iterable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from choreo import Event, Failure, Later, Retry, Saga, SagaState, Service, Settings
from choreo.choreography import Choreography
from choreo.event import emitted_id
from choreo.memory import Status, TimerKind
from choreo.records import COMMANDS, Command
from choreo.scope import fork, opened
from choreo.testing import Scenario
from choreo.testing.saga_handle import SagaHandle
from choreo.tracker import Follower, Store
from choreo.tracker.tracked_step import TrackedStep
from choreo.tracker.verdict import Verdict
from choreo.tracker.views import Flag, SagaStep, StepStatus
from choreo.transport import Outgoing
from tests.effort import part

MINUTE = timedelta(minutes=1)
SCHEMA = Path(__file__).parents[2] / "docs" / "reference" / "schemas" / "journal.schema.json"


class Ordered(Event, topic="market"):
    order_id: str = "1"
    sellers: int = 3
    parcels: int = 1


class Delivered(Event, topic="market"):
    pass


class Cancelled(Event, topic="market"):
    pass


class TooLate(Failure, topic="market"):
    pass


class PartOrdered(Event, topic="parts"):
    n: int
    parcels: int


class PartPacked(Event, topic="parts"):
    n: int


class PartMissing(Failure, topic="parts"):
    n: int


class PartUnpacked(Event, topic="parts"):
    n: int


class PartSent(Event, topic="carrier"):
    n: int


class ParcelSent(Event, topic="carrier"):
    n: int
    place: int


class ParcelStopped(Event, topic="carrier"):
    pass


class Charged(Event, topic="bank"):
    pass


class ChargeUnknown(Failure, topic="bank"):
    pass


class Refunded(Event, topic="bank"):
    known: bool


class Reminded(Event, topic="bank"):
    pass


class World:
    """What fails, and how often: a handler's name, with the number of its part where it has one → attempts."""

    def __init__(self, missing: Iterable[int] = (), **failures: int) -> None:
        self.failures = failures
        self.missing = set(missing)

    def attempt(self, name: str) -> None:
        if self.failures.get(name, 0) > 0:
            self.failures[name] -= 1
            raise ConnectionError(f"{name} is away")


def market() -> Service:
    service = Service("market")
    service.owns(Saga("market", starts=Ordered, completes=Delivered, fails=Cancelled, key="order_id"))

    @service.handles
    def split(ordered: Ordered) -> list[PartOrdered]:
        return [PartOrdered(n=n, parcels=ordered.parcels) for n in range(ordered.sellers)]

    @service.handles
    def gather(sent: list[PartSent], charged: Charged) -> Delivered:
        return Delivered()

    @service.handles
    def cancel(cause: PartMissing | TooLate | ChargeUnknown) -> Cancelled:
        return Cancelled()

    @service.deadline(Delivered | Cancelled, within=60 * MINUTE)
    def late(ordered: Ordered) -> TooLate:
        return TooLate(reason="an hour has gone")

    return service


def sellers(world: World) -> Service:
    service = Service("sellers")

    @service.handles(retry=Retry(attempts=3, delay_s=10, delay_s_max=10))
    def pack(part: PartOrdered) -> PartPacked | PartMissing:
        world.attempt(f"pack{part.n}")
        return PartMissing(n=part.n, reason="sold out") if part.n in world.missing else PartPacked(n=part.n)

    @service.compensates(retry=Retry(attempts=1))
    def unpack(
        cause: PartMissing | TooLate | ChargeUnknown, packed: PartPacked | None, part: PartOrdered
    ) -> PartUnpacked:
        world.attempt(f"unpack{part.n}")
        return PartUnpacked(n=part.n)

    return service


def carrier(world: World) -> Service:
    service = Service("carrier")

    @service.handles
    def split_part(packed: PartPacked, part: PartOrdered) -> list[ParcelSent]:
        world.attempt(f"send{part.n}")
        return [ParcelSent(n=part.n, place=place) for place in range(part.parcels)]

    @service.handles
    def sent(parcels: list[ParcelSent], part: PartOrdered) -> PartSent:
        return PartSent(n=part.n)

    @service.compensates
    def stop(cause: PartMissing | TooLate | ChargeUnknown, sent: ParcelSent) -> ParcelStopped:
        return ParcelStopped()

    return service


def bank(world: World, *, otherwise: bool = True) -> Service:
    service = Service("bank")

    @service.handles(retry=Retry(attempts=2, delay_s=5, delay_s_max=5))
    def charge(ordered: Ordered) -> tuple[Charged, Later[Reminded]]:
        world.attempt("charge")
        return Charged(), Later(Reminded(), after=20 * MINUTE)

    if otherwise:

        @service.otherwise(charge)
        def gave_up(error: Exception) -> ChargeUnknown:
            return ChargeUnknown(reason=str(error))

    @service.compensates(retry=Retry(attempts=1))
    def refund(cause: PartMissing | TooLate | ChargeUnknown, charged: Charged | None) -> Refunded:
        world.attempt("refund")
        return Refunded(known=charged is not None)

    return service


def everything(world: World, **more: Any) -> list[Service]:
    return [market(), sellers(world), carrier(world), bank(world, **more)]


def command(s: Scenario, saga: SagaHandle, what: str, handler: str, **more: Any) -> None:
    """Ask for a step by its handler, `service.name`; the rest is that of its last parked note."""
    service, _, name = handler.partition(".")
    notes = [each for each in saga.view.notes if (each.service, each.handler) == (service, name)]
    note = next(each for each in reversed(notes) if each.kind in {"parked", "retried"})
    given = {
        "command_id": f"c-{len(s.broker.records(COMMANDS))}",
        "command": what,
        "saga_id": saga.saga_id,
        "service": service,
        "handler": name,
        "branch": note.branch,
        "trigger": note.trigger,
        "actor": "ana",
        "reason": "they say it works again",
        "at": s.now,
    } | more
    sender = s.broker.sender()
    value = Command.model_validate(given).to_bytes()
    sender.enqueue(Outgoing(COMMANDS, saga.saga_id.encode(), value, []), lambda error: None)
    sender.close()


def only(saga: SagaHandle, name: str, branch: str = "") -> SagaStep:
    (step,) = (each for each in saga.steps if (each.name, each.branch) == (name, branch))
    return step


def statuses(saga: SagaHandle, name: str) -> list[StepStatus]:
    return [each.status for each in sorted(saga.steps, key=lambda each: each.branch) if each.name == name]


def part_branch(saga: SagaHandle, path: int, of: int = 3) -> str:
    start = saga.events[0]
    return opened("", emitted_id(saga.saga_id, "market.split", "", start.event_id, "effect"), path, of)


def assert_agrees(s: Scenario, saga: SagaHandle, *, settled: bool = False) -> None:
    """Assert that the tracker shows what the services remember (I5); where all is delivered, nothing is left open."""
    with closing(Store()) as store, closing(Follower(store, s.broker)) as follower:
        follower.catch_up()
        verdict = Verdict(Choreography(store.manifests()), saga.saga_id, *store.records([saga.saga_id])[saga.saga_id])
    steps = dict(verdict.steps)
    deadlines = set()
    for member in s.delivery.services.values():
        memory = member.engine.memory(saga.saga_id)
        for (handler, branch, trigger), fence in (memory.fences if memory is not None else {}).items():
            step = steps.pop((member.name, handler, branch, trigger), None)
            assert step is not None, f"{member.name}.{handler} {branch} {trigger} is unknown to the tracker"
            assert _agrees(step, fence.status), f"{member.name}.{handler} {branch} is {fence.status!r}, not {step}"
        for kind, handler, branch, trigger, _ in memory.timers if memory is not None else ():
            if kind is TimerKind.DEADLINE:
                deadlines.add((member.name, handler, branch, trigger))
    left = [each for each in steps.values() if each.results or each.settled or each.held or (settled and each.ready)]
    assert left == []
    told = {(*each.node.key, each.trigger.branch, each.trigger.event_id) for each in verdict.deadlines}
    # What has not been delivered calls nothing off, and sets nothing.
    assert told == deadlines or not settled
    assert not verdict.missing
    assert not verdict.violations


def _agrees(step: TrackedStep, status: Status) -> bool:
    if status is Status.SKIPPED:
        return step.settled is not None and step.settled.kind == "skipped"
    if status is Status.UNKNOWN:
        return step.unknown
    if status is Status.PARKED:
        return step.parked
    if status is Status.RETRYING:
        return step.moves and step.held is not None
    return step.done or (step.settled is not None and step.settled.kind == "dropped")


def retry_all(s: Scenario, saga: SagaHandle) -> None:
    """Have everything tried again that was ever parked; what is not parked any more is refused."""
    steps = {
        (each.service, each.handler, each.branch, each.trigger) for each in saga.view.notes if each.kind == "parked"
    }
    for service, handler, branch, trigger in sorted(steps):
        command(s, saga, "retry", f"{service}.{handler}", branch=branch, trigger=trigger)


@pytest.mark.parametrize("seed", [None, 1, 2][: part(2, of=3)])
@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
@pytest.mark.parametrize(
    ("failures", "missing"),
    [
        ({}, set()),
        ({}, {1}),
        ({"pack0": 2, "charge": 1}, set()),
        ({"pack2": 1}, {0}),
        ({"charge": 9}, set()),
        ({"charge": 9, "pack1": 9}, {2}),
        ({"pack1": 9, "unpack0": 1, "refund": 1}, {2}),
        ({"send1": 9}, set()),
        ({"send1": 9}, {0}),
    ],
)
def test_r30_i5_the_tracker_shows_what_the_services_remember(
    seed: int | None, delivery: str, failures: dict[str, int], missing: set[int]
):
    world = World(missing=missing, **failures)
    services = everything(world)
    with Scenario(*services, park=True, seed=seed, settings=Settings.model_construct(delivery=delivery)) as s:
        saga = s.publish(Ordered(sellers=3, parcels=2))
        for round_number in range(12):
            while s.step():
                assert_agrees(s, saga)
            s.advance(timedelta(seconds=4))
            assert_agrees(s, saga, settled=True)
            s.restart(services[round_number % len(services)])
        world.failures.clear()
        retry_all(s, saga)
        while s.step():
            assert_agrees(s, saga)
        s.settle()
        assert_agrees(s, saga, settled=True)
        assert saga.view.at_rest
        assert saga.flags == frozenset()


@pytest.mark.parametrize("failures", [{}, {"pack1": 9, "refund": 1}, {"charge": 9}])
def test_every_note_is_what_the_json_schema_says(failures: dict[str, int]):
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    kinds = {each["const"] for each in schema["properties"]["note"]["oneOf"]}
    with Scenario(*everything(World(missing={0} if failures else set(), **failures)), park=True) as s:
        saga = s.publish(Ordered())
        s.settle()
        retry_all(s, saga)
        retry_all(s, saga)
        s.settle()
        for record in s.broker.records("choreo.journal"):
            jsonschema.validate(json.loads(record.value or b""), schema)
        assert {each.kind for each in saga.view.notes} <= kinds | {"ended"}


def test_r12_branches_are_packed_gathered_and_completed():
    world = World(pack1=1)
    with Scenario(*everything(world)) as s:
        saga = s.publish(Ordered(parcels=2))
        s.advance(timedelta(0))
        branches = [part_branch(saga, path) for path in range(3)]
        gather = only(saga, "gather")
        assert (gather.status, gather.trigger) == (StepStatus.PENDING, fork(branches[0]).key)
        assert statuses(saga, "pack") == ["completed", "retrying", "completed"]
        assert [each.branch for each in saga.steps if each.name == "split_part" and each.status == "completed"] == [
            branches[0],
            branches[2],
        ]
        assert any("carrier.PartSent from carrier, missing from 1 of 3 branches" in each for each in saga.waiting_for)
        s.advance(MINUTE)
        assert saga.state is SagaState.COMPLETED
        assert {each.status for each in saga.steps} == {StepStatus.COMPLETED}
        assert sorted(each.branch for each in saga.steps if each.name == "sent") == branches
        assert len(saga.steps) == 1 + 3 * 3 + 2
        assert only(saga, "pack", branches[1]).attempts == 2
        # Each branch opened branches of its own, whose events are the results of one step around them.
        assert only(saga, "split_part", branches[0]).result == "carrier.ParcelSent"


def test_r14_a_failure_in_one_branch_undoes_the_others_where_they_are():
    with Scenario(*everything(World(missing={1}))) as s:
        saga = s.publish(Ordered(parcels=2))
        s.settle()
        # The last of them had not begun: it is cancelled, and undone with None.
        assert statuses(saga, "pack") == ["compensated", "failed", "skipped"]
        parts = {each.branch: each.compensated_at is not None for each in saga.steps if each.name == "pack"}
        assert parts == {part_branch(saga, 0): True, part_branch(saga, 1): False, part_branch(saga, 2): True}
        assert statuses(saga, "split") == ["completed"]
        assert statuses(saga, "charge") == ["compensated"]
        assert saga.state is SagaState.FAILED
        assert saga.flags == frozenset()


def test_r12_what_stands_beside_a_list_is_of_the_same_step():
    service = Service("market")
    service.owns(Saga("market", starts=Ordered, completes=Delivered, fails=Cancelled, key="order_id"))

    @service.handles
    def split(ordered: Ordered) -> tuple[Charged, list[PartOrdered]]:
        return Charged(), [PartOrdered(n=n, parcels=1) for n in range(2)]

    @service.handles
    def gather(parts: list[PartOrdered], charged: Charged) -> Delivered:
        return Delivered()

    with Scenario(service) as s:
        saga = s.publish(Ordered())
        s.settle()
        assert [(each.name, each.branch, each.status, each.result) for each in saga.steps] == [
            ("split", "", "completed", "bank.Charged, parts.PartOrdered"),
            ("gather", "", "completed", "market.Delivered"),
        ]
        assert_agrees(s, saga, settled=True)


def test_r28_a_parked_step_of_a_branch_is_tried_again_and_resolved():
    world = World(pack1=9, send0=9)
    with Scenario(*everything(world), park=True) as s:
        saga = s.publish(Ordered())
        s.advance(2 * MINUTE)
        assert saga.flags == {Flag.PARKED}, "an hour's deadline may still move it"
        branches = [part_branch(saga, path) for path in range(3)]
        assert only(saga, "pack", branches[1]).attempts == 3
        command(s, saga, "retry", "sellers.pack")
        s.advance(timedelta(0))
        pack = only(saga, "pack", branches[1])
        assert (pack.status, pack.attempts) == (StepStatus.RETRYING, 4)
        assert_agrees(s, saga, settled=True)
        s.advance(MINUTE)
        pack = only(saga, "pack", branches[1])
        assert (pack.status, pack.attempts) == (StepStatus.PARKED, 6)
        packed = {"event_type": PartPacked.__choreo_type__, "payload": {"n": 1}}
        command(s, saga, "resolve", "sellers.pack", **packed)
        command(s, saga, "resolve", "sellers.pack", **packed)
        s.advance(timedelta(0))
        pack = only(saga, "pack", branches[1])
        assert (pack.status, pack.attempts) == (StepStatus.COMPLETED, 6)
        assert only(saga, "sent", branches[1]).status is StepStatus.COMPLETED
        assert saga.flags == {Flag.PARKED}
        world.failures.clear()
        command(s, saga, "retry", "carrier.split_part")
        s.settle()
        assert saga.state is SagaState.COMPLETED
        assert saga.flags == frozenset()
        told = [(each.kind, each.actor) for each in saga.view.notes if each.actor]
        assert sorted(told) == [("refused", "ana"), ("resolved", "ana"), ("resumed", "ana"), ("resumed", "ana")]


def test_r28_what_a_person_takes_as_done_without_an_event_is_done():
    with Scenario(*everything(World(pack1=9)), park=True) as s:
        saga = s.publish(Ordered())
        s.advance(2 * MINUTE)
        command(s, saga, "resolve", "sellers.pack")
        s.advance(timedelta(0))
        pack = only(saga, "pack", part_branch(saga, 1))
        assert (pack.status, pack.result) == (StepStatus.COMPLETED, "")
        assert saga.state is SagaState.PENDING
        assert saga.flags == frozenset()
        assert_agrees(s, saga, settled=True)


def test_r16_what_an_otherwise_ended_is_compensated_once_its_undoing_has_come():
    world = World(charge=9, refund=1)
    with Scenario(*everything(world), park=True) as s:
        saga = s.publish(Ordered())
        s.advance(MINUTE)
        charge = only(saga, "charge")
        assert (charge.status, charge.result, charge.attempts) == (StepStatus.PARKED, "bank.ChargeUnknown", 2)
        assert saga.state is SagaState.COMPENSATING
        assert saga.flags == {Flag.PARKED, Flag.STUCK}
        command(s, saga, "retry", "bank.refund")
        s.settle()
        assert only(saga, "charge").status is StepStatus.COMPENSATED
        assert saga.event(Refunded).known is False
        assert saga.state is SagaState.FAILED


def test_r23_a_deadline_is_waited_for_then_fires_and_is_a_step():
    with Scenario(*everything(World(pack1=9)), park=True) as s:
        saga = s.publish(Ordered())
        s.advance(30 * MINUTE)
        until = "market.Cancelled | market.Delivered, until 2026-01-01T01:00:00Z, when market.late fires"
        assert until in saga.waiting_for
        assert "late" not in {each.name for each in saga.steps}
        s.advance(30 * MINUTE)
        late = only(saga, "late")
        assert (late.status, late.error) == (StepStatus.FAILED, "an hour has gone")
        assert statuses(saga, "pack") == ["compensated", "skipped", "compensated"]
        assert saga.state is SagaState.FAILED
        assert saga.flags == frozenset()


def test_r30_a_deadline_that_nobody_keeps_is_overdue():
    services = everything(World(pack1=9))
    with Scenario(*services, park=True) as s:
        # The owner is away, and has not even read the start.
        s.hold("market", service=services[0])
        saga = s.publish(Ordered())
        s.advance(60 * MINUTE)
        assert Flag.OVERDUE not in saga.flags
        s.advance(timedelta(milliseconds=1))
        assert Flag.OVERDUE in saga.flags
        assert Flag.OVERDUE in s.tracker.sagas().items[0].flags
        assert s.tracker.flag_counts().get(Flag.OVERDUE) is None
        s.release()
        s.settle()
        assert saga.flags == frozenset()
        assert saga.state is SagaState.FAILED


def test_r24_what_comes_later_is_of_the_step_that_set_it_down():
    with Scenario(*everything(World(pack1=9)), park=True) as s:
        saga = s.publish(Ordered())
        s.advance(10 * MINUTE)
        charge = only(saga, "charge")
        assert (charge.status, charge.result) == (StepStatus.COMPLETED, "bank.Charged")
        s.advance(10 * MINUTE)
        charge = only(saga, "charge")
        assert (charge.status, charge.result) == (StepStatus.COMPLETED, "bank.Charged, bank.Reminded")
        assert Flag.VIOLATION not in saga.flags
        assert_agrees(s, saga, settled=True)
