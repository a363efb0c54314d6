"""Reading whole topics: where they end, from the first moment on."""

import asyncio
import time

import pytest
from confluent_kafka import KafkaError, KafkaException

from choreo import Event, Publisher, Saga, Service, running
from choreo.errors import BrokerUnavailable
from choreo.kafka import KafkaTransport
from choreo.kafka.connection import Connection
from choreo.kafka.reader import bounds
from choreo.tracker import Follower, Store, Tracker
from tests.kafka.desk import settings


class Brokers:
    """Answers with these, one after the other."""

    def __init__(self, *answers: int | tuple[int, int]) -> None:
        self._answers = list(answers)

    def get_watermark_offsets(self, *_: object, **__: object) -> tuple[int, int]:
        answer = self._answers.pop(0)
        if isinstance(answer, int):
            raise KafkaException(KafkaError(answer))
        return answer


CONNECTION = Connection({"bootstrap.servers": "127.0.0.1:1"})


def test_a_partition_that_has_just_been_made_has_no_leader_for_a_moment() -> None:
    brokers = Brokers(KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE, (0, 7))

    assert bounds(CONNECTION, brokers, ("fresh", 0)) == (0, 7)


def test_what_does_not_pass_is_told_at_once() -> None:
    brokers = Brokers(KafkaError.TOPIC_AUTHORIZATION_FAILED)

    with pytest.raises(BrokerUnavailable):
        bounds(CONNECTION, brokers, ("fresh", 0))


@pytest.mark.kafka
@pytest.mark.timeout(90)
async def test_r34_a_tracker_that_has_read_all_is_not_behind_marks_of_transactions(kafka: str, prefix: str) -> None:
    class Asked(Event, topic=f"{prefix}questions"):
        text: str

    class Answered(Event, topic=f"{prefix}answers"):
        pass

    service = Service(f"{prefix}oracle")
    service.owns(Saga(f"{prefix}question", starts=Asked, completes=Answered, key="text"))

    @service.handles
    def answer(asked: Asked) -> Answered:
        return Answered()

    chosen = settings(kafka, prefix)
    store = Store()
    follower, tracker = Follower(store, KafkaTransport({"bootstrap.servers": kafka})), Tracker(store)
    async with running(service, settings=chosen, create_topics=True) as live:
        await live.wait_ready()
        async with Publisher(service, settings=chosen) as publisher:
            saga_ids = [await publisher.publish_async(Asked(text=f"{number}")) for number in range(20)]
        deadline = time.monotonic() + 30
        while not all((saga := tracker.saga(each)) and saga.at_rest for each in saga_ids) or tracker.lag().records:
            assert time.monotonic() < deadline, tracker.lag()
            await asyncio.to_thread(follower.step, 0.5)
    follower.close()
    again = Follower(store, KafkaTransport({"bootstrap.servers": kafka}))
    deadline, last_at = time.monotonic() + 30, tracker.lag().checked_at
    while tracker.lag().checked_at == last_at or tracker.lag().records:
        assert time.monotonic() < deadline, tracker.lag()
        again.step(0.5)
    again.close()
