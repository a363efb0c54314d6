"""Reading whole topics: where they end, from the first moment on."""

import pytest
from confluent_kafka import KafkaError, KafkaException

from choreo.errors import BrokerUnavailable
from choreo.kafka.connection import Connection
from choreo.kafka.reader import bounds


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
