"""What may be forgotten: sagas that have ended, some time ago, and whose memory says so."""

from choreo.memory import Fence, Memory, Status
from choreo.runtime.retention import Retention


def memory(ended_ms: int, status: Status = Status.DONE) -> bytes:
    made = Memory()
    made.ended_ms = ended_ms
    made.fences["pay", "", "e"] = Fence(status)
    return made.encode()


def test_r05_an_ended_saga_is_forgotten_when_it_has_been_remembered_long_enough():
    memories = {"early": memory(1), "late": memory(50)}
    forgetting = Retention(100)
    forgetting.restore(memories)
    assert forgetting.due(memories, 100) == []
    assert forgetting.due(memories, 149) == ["early"]
    assert forgetting.due(memories, 150) == ["late"]


def test_r05_one_whose_end_was_taken_back_is_not_forgotten_by_age():
    forgetting = Retention(100)
    forgetting.ended("saga", 1)
    assert forgetting.due({"saga": memory(0)}, 10_000) == []


def test_r05_one_that_waits_for_a_person_is_looked_at_again_later():
    forgetting = Retention(100)
    forgetting.ended("saga", 1)
    parked = {"saga": memory(1, Status.PARKED)}
    assert forgetting.due(parked, 200) == []
    assert forgetting.due({"saga": memory(1)}, 301) == ["saga"]
