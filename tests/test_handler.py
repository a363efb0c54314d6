"""A handler's record answers by role what `step` and the manifest ask it."""

from choreo.event import Event, Failure
from choreo.handler import Handler, Kind, Parameter, Role


class Placed(Event, topic="orders"):
    pass


class Captured(Event, topic="payments"):
    pass


class Refunded(Event, topic="payments"):
    pass


class Declined(Failure, topic="payments"):
    pass


def handler(*parameters: Parameter, kind: Kind = Kind.FORWARD, **fields) -> Handler:
    return Handler(name="h", service="s", function=print, kind=kind, parameters=parameters, **fields)


def test_a_join_waits_for_each_event_parameter_in_order():
    join = handler(
        Parameter("paid", Role.EVENT, (Captured, Refunded)),
        Parameter("ctx", Role.CONTEXT),
        Parameter("placed", Role.EVENT, (Placed,)),
    )
    assert join.waits_for == (frozenset({Captured, Refunded}), frozenset({Placed}))
    assert join.causes == join.original == frozenset()
    assert join.extras == ()
    assert join.step == "s.h"
    assert not join.fan_in


def test_a_compensation_waits_for_nothing_and_names_cause_original_and_extras():
    undo = handler(
        Parameter("cause", Role.CAUSE, (Declined,)),
        Parameter("captured", Role.ORIGINAL, (Captured,), optional=True),
        Parameter("placed", Role.EVENT, (Placed,)),
        kind=Kind.COMPENSATION,
    )
    assert undo.waits_for == ()
    assert undo.causes == {Declined}
    assert undo.original == {Captured}
    assert undo.original_optional
    assert undo.extras == (frozenset({Placed}),)


def test_a_list_of_branches_is_waited_for():
    gather = handler(Parameter("captured", Role.BRANCHES, (Captured,)))
    assert gather.fan_in
    assert gather.waits_for == (frozenset({Captured}),)


def test_handlers_are_themselves_and_can_be_keys():
    one, two = handler(), handler()
    assert one != two
    assert len({one, two}) == 2
