"""The heaps of a partition: soonest first, and nothing that the memories do not say as well."""

from choreo.memory import Fence, Memory, Status, Timer, TimerKind
from choreo.runtime.partition import Retention, Schedule


def memory(due_ms: int) -> bytes:
    made = Memory()
    if due_ms:
        made.timers[TimerKind.DEADLINE, "overdue", "", "e", 0] = Timer(due_ms)
    return made.encode()


def test_what_is_due_comes_soonest_first_and_once():
    memories = {f"saga-{n}": memory(n) for n in range(1, 6)}
    timers = Schedule()
    timers.restore(memories)
    assert timers.next_ms(memories) == 1
    assert timers.due(memories, 3) == ["saga-1", "saga-2", "saga-3"]
    assert timers.due(memories, 3) == []
    assert timers.next_ms(memories) == 4


def test_a_timer_that_was_called_off_or_set_anew_counts_as_the_memory_says():
    timers = Schedule()
    timers.set("gone", 1)
    timers.set("later", 2)
    timers.set("later", 9)
    timers.set("forgotten", 3)
    memories = {"gone": memory(0), "later": memory(9)}
    assert timers.next_ms(memories) == 9
    assert timers.due(memories, 5) == []
    assert timers.due(memories, 9) == ["later"]
    assert timers.next_ms(memories) is None


def test_one_look_wakes_no_more_than_it_may():
    memories = {f"saga-{n}": memory(1) for n in range(10)}
    timers = Schedule()
    timers.restore(memories)
    assert len(timers.due(memories, 1, most=4)) == 4
    assert len(timers.due(memories, 1)) == 6


def ended_memory(ended_ms: int, status: Status = Status.DONE) -> bytes:
    made = Memory()
    made.ended_ms = ended_ms
    made.fences["pay", "", "e"] = Fence(status)
    return made.encode()


def test_r05_an_ended_saga_is_forgotten_when_it_has_been_remembered_long_enough():
    memories = {"early": ended_memory(1), "late": ended_memory(50)}
    forgetting = Retention(100)
    forgetting.restore(memories)
    assert forgetting.due(memories, 100) == []
    assert forgetting.due(memories, 149) == ["early"]
    assert forgetting.due(memories, 150) == ["late"]


def test_r05_one_whose_end_was_taken_back_is_not_forgotten_by_age():
    forgetting = Retention(100)
    forgetting.ended("saga", 1)
    assert forgetting.due({"saga": ended_memory(0)}, 10_000) == []


def test_r05_one_that_waits_for_a_person_is_looked_at_again_later():
    forgetting = Retention(100)
    forgetting.ended("saga", 1)
    parked = {"saga": ended_memory(1, Status.PARKED)}
    assert forgetting.due(parked, 200) == []
    assert forgetting.due({"saga": ended_memory(1)}, 301) == ["saga"]
