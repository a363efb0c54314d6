"""The heap of a partition: soonest first, and nothing that the memories do not say as well."""

from choreo.memory import Memory, Timer, TimerKind
from choreo.runtime.schedule import Schedule


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
