"""What is made of services once serves many scenarios, one at a time, and is never stale."""

import gc
import weakref

import pytest

from choreo import Event, Saga, Service, Settings
from choreo.errors import DeclarationError
from choreo.manifest import Manifest
from choreo.service import declarations
from choreo.testing import Scenario
from choreo.testing.compiled import IDLE, IDLE_MAX, compiled_services
from choreo.transport import Outgoing
from tests.testing.shop import ALL, OrderPlaced, orders

SETTINGS = Settings.model_construct()


class Asked(Event, topic="asks"):
    text: str


class Answered(Event, topic="asks"):
    text: str


class Thanked(Event, topic="asks"):
    text: str


def oracle() -> Service:
    service = Service("oracle")
    service.owns(Saga("question", starts=Asked, completes=Answered, key="text"))

    @service.handles
    def answer(asked: Asked) -> Answered:
        return Answered(text=asked.text)

    return service


def test_it_is_used_again_but_by_one_at_a_time():
    service = oracle()
    one, other = compiled_services([service], SETTINGS), compiled_services([service], SETTINGS)
    assert one is not other
    one.leave()
    assert compiled_services([service], SETTINGS) is one


def test_services_that_say_more_are_read_anew():
    service = oracle()
    with Scenario(service) as s:
        saga = s.publish(Asked(text="why"))
        s.settle()
        assert saga.emitted == [Asked, Answered]

    @service.handles
    def thank(answered: Answered) -> Thanked:
        return Thanked(text=answered.text)

    with Scenario(service) as s:
        saga = s.publish(Asked(text="why"))
        s.settle()
        assert saga.emitted == [Asked, Answered, Thanked]

    @service.handles
    def broken(answered: Answered):
        return None

    with pytest.raises(DeclarationError):
        Scenario(service)


def test_other_settings_make_another():
    service = oracle()
    with Scenario(service) as s:
        s.publish(Asked(text="x" * 2000))
    with Scenario(service, settings=Settings.model_construct(event_bytes_max=1000)) as s, pytest.raises(Exception):  # noqa: B017, PT011
        s.publish(Asked(text="x" * 2000))


def test_nothing_of_one_scenario_is_felt_in_the_next():
    with Scenario(*ALL) as s:
        s.publish(OrderPlaced(order_id="17"))
        s.settle()
        publisher = s.publisher
    with Scenario(*ALL) as s:
        assert s.publisher is publisher
        assert s.broker.records("orders", "inventory", "payments", "shipping") == []
        assert len(s.broker.records("choreo.manifests")) == len(ALL)
        saga = s.publish(OrderPlaced(order_id="17"))
        s.settle()
        assert s.tracker.lag().records == 0
        assert len(saga.emitted) == 5


def test_a_scenario_that_is_over_is_let_go():
    with Scenario(*ALL) as s:
        s.publish(OrderPlaced(order_id="17"))
        s.settle()
    gone = weakref.ref(s)
    del s
    gc.collect()
    assert gone() is None


def test_what_has_learned_a_schema_of_others_is_not_used_again():
    stranger = Service("stranger")
    stranger.owns(Saga("thanks", starts=Thanked, completes=Asked))

    @stranger.handles
    def ask(thanked: Thanked) -> Asked:
        return Asked(text=thanked.text)

    service = oracle()
    for _ in range(2):
        with Scenario(service) as s:
            s.publish(Asked(text="why"))
            s.broker.write([Outgoing("asks", b"other", b"x", [("ce_type", b"asks.Thanked"), ("ce_id", b"1")])])
            s.settle()
            assert len(s.broker.records("oracle.dlq")) == 1
            manifest = Manifest.of(declarations(stranger)[0])
            s.broker.write([Outgoing("choreo.manifests", manifest.key.encode(), manifest.to_bytes(), [])])
            s.broker.write([Outgoing("asks", b"other", b"x", [("ce_type", b"asks.Thanked"), ("ce_id", b"2")])])
            s.settle()
            assert len(s.broker.records("oracle.dlq")) == 1


def test_few_are_kept():
    for _ in range(IDLE_MAX + 2):
        compiled_services([oracle()], SETTINGS).leave()
    assert len(IDLE) == IDLE_MAX
    with Scenario(*ALL) as s:
        s.publish(OrderPlaced(order_id="1"))
    assert any(orders in each.key for each in IDLE)
