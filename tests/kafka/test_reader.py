"""Reading whole topics: where they end, from the first moment on."""

from contextlib import closing

import pytest
from confluent_kafka import KafkaError, KafkaException

from choreo.errors import BrokerUnavailable
from choreo.kafka.embedded import EmbeddedTransport
from choreo.kafka.reader import KafkaReader
from choreo.transport import TopicSpec


class Brokers:
    """Answers with these, one after the other."""

    def __init__(self, *answers: int | tuple[int, int]) -> None:
        self._answers = list(answers)

    def get_watermark_offsets(self, *_: object, **__: object) -> tuple[int, int]:
        answer = self._answers.pop(0)
        if isinstance(answer, int):
            raise KafkaException(KafkaError(answer))
        return answer

    def close(self) -> None: ...


@pytest.fixture
def reader():
    with closing(EmbeddedTransport()) as transport:
        transport.create([TopicSpec("fresh", 1)])
        with closing(transport.reader(["fresh"])) as found:
            assert isinstance(found, KafkaReader)
            yield found


def test_a_partition_that_has_just_been_made_has_no_leader_for_a_moment(reader: KafkaReader):
    reader._asking = Brokers(KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE, (0, 7))  # type: ignore[assignment]

    assert reader.ends() == {("fresh", 0): 7}


def test_what_does_not_pass_is_told_at_once(reader: KafkaReader):
    reader._asking = Brokers(KafkaError.TOPIC_AUTHORIZATION_FAILED)  # type: ignore[assignment]

    with pytest.raises(BrokerUnavailable):
        reader.ends()
