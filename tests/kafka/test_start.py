"""Starting on brokers that are not there, and on topics that will not do: each refusal says what to do."""

import time

import pytest

from choreo import Event, Publisher, Saga, Service, running
from choreo.errors import BrokerUnavailable, TopicProblem
from choreo.kafka import KafkaTransport
from choreo.transport import TopicSpec
from tests.brokers import free_port
from tests.kafka.desk import settings


def service_of(prefix: str) -> Service:
    class Asked(Event, topic=f"{prefix}questions"):
        text: str

    class Answered(Event, topic=f"{prefix}answers"):
        text: str

    service = Service(f"{prefix}oracle")
    service.owns(Saga(f"{prefix}question", starts=Asked, completes=Answered, key="text"))

    @service.handles
    def answer(asked: Asked) -> Answered:
        return Answered(text=asked.text)

    return service


@pytest.mark.usefixtures("impatient")
async def test_a_port_where_nobody_listens_is_named_with_what_to_do(prefix: str):
    address = f"127.0.0.1:{free_port()}"
    began = time.monotonic()
    with pytest.raises(BrokerUnavailable) as refused:
        async with running(service_of(prefix), settings=settings(address, prefix)):
            pass
    assert time.monotonic() - began < 20
    text = str(refused.value)
    assert address in text
    assert "refused" in text.lower()
    assert "--bootstrap-server" in text


@pytest.mark.usefixtures("impatient")
def test_a_publisher_says_so_too(prefix: str):
    address = f"127.0.0.1:{free_port()}"
    with (
        pytest.raises(BrokerUnavailable, match=address),
        Publisher(service_of(prefix), settings=settings(address, prefix)),
    ):
        pass


@pytest.mark.usefixtures("impatient")
def test_a_host_that_nobody_knows_is_named(prefix: str):
    transport = KafkaTransport({"bootstrap.servers": "nowhere.invalid:9092"})
    with pytest.raises(BrokerUnavailable, match=r"nowhere\.invalid:9092.*[Cc]heck the host name"):
        transport.describe()


@pytest.mark.kafka
async def test_missing_topics_are_named_with_the_command_that_makes_them(kafka: str, prefix: str):
    with pytest.raises(TopicProblem) as refused:
        async with running(service_of(prefix), settings=settings(kafka, prefix)):
            pass
    text = str(refused.value)
    for topic in (f"{prefix}questions", f"{prefix}answers", f"{prefix}oracle.memory", f"{prefix}oracle.dlq"):
        assert f"CH080 topic {topic} does not exist" in text
    assert f"choreo topics apply` for {prefix}oracle" in text


@pytest.mark.kafka
def test_a_publisher_names_missing_topics(kafka: str, prefix: str):
    with (
        pytest.raises(TopicProblem, match=rf"CH080 topic {prefix}questions does not exist"),
        Publisher(service_of(prefix), settings=settings(kafka, prefix)),
    ):
        pass


@pytest.mark.kafka
@pytest.mark.parametrize("create_topics", [True, False])
async def test_r39_partition_counts_that_differ_are_refused(kafka: str, prefix: str, create_topics: bool):
    async with running(service_of(f"{prefix}other-"), settings=settings(kafka, prefix), create_topics=True):
        pass
    transport = KafkaTransport({"bootstrap.servers": kafka})
    transport.create([TopicSpec(f"{prefix}questions", 7), TopicSpec(f"{prefix}answers", 3)])
    with pytest.raises(TopicProblem) as refused:
        async with running(service_of(prefix), settings=settings(kafka, prefix), create_topics=create_topics):
            pass
    text = str(refused.value)
    assert "CH081" in text
    assert f"7: {prefix}questions" in text
    assert "--partitions 7" in text
    assert f"{prefix}oracle.memory" not in transport.describe(), "nothing is created while something does not fit"


@pytest.mark.kafka
async def test_a_topic_that_takes_less_than_an_event_may_have_is_refused(kafka: str, prefix: str):
    transport = KafkaTransport({"bootstrap.servers": kafka})
    transport.create([TopicSpec(f"{prefix}questions", 3, 1, {"max.message.bytes": "1000"})])
    with pytest.raises(TopicProblem, match="CH083"):
        async with running(service_of(prefix), settings=settings(kafka, prefix), create_topics=True):
            pass


@pytest.mark.kafka
async def test_a_compacted_topic_for_events_is_refused(kafka: str, prefix: str):
    transport = KafkaTransport({"bootstrap.servers": kafka})
    transport.create([TopicSpec(f"{prefix}questions", 3, 1, {"cleanup.policy": "compact"})])
    with pytest.raises(TopicProblem, match="CH082"):
        async with running(service_of(prefix), settings=settings(kafka, prefix), create_topics=True):
            pass
