"""Rule 29: what cannot be read is set aside whole, and what comes after it goes on."""

from collections.abc import Callable

import pytest
from confluent_kafka import Producer

from choreo import Event, Publisher, Saga, Service, running
from choreo.kafka import KafkaTransport
from choreo.transport import TopicSpec
from tests.kafka.desk import Log, settings

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(90)]
SAGA_ID = "0198c0de-0000-7000-8000-000000000001"
LARGE = 10_000_000


async def test_r29_each_bad_input_lands_in_the_dead_letters_and_later_records_go_on(
    kafka: str, prefix: str, log: Callable[..., Log]
):
    class Asked(Event, topic=f"{prefix}questions"):
        text: str

    class Answered(Event, topic=f"{prefix}answers"):
        text: str

    service = Service(f"{prefix}oracle")
    service.owns(Saga(f"{prefix}question", starts=Asked, completes=Answered, key="text"))

    @service.handles
    def answer(asked: Asked) -> Answered:
        return Answered(text=asked.text)

    transport = KafkaTransport({"bootstrap.servers": kafka})
    transport.create([TopicSpec(f"{prefix}questions", 6, 1, {"max.message.bytes": str(LARGE)})])
    chosen = settings(kafka, prefix)
    async with running(service, settings=chosen, create_topics=True) as live:
        await live.wait_ready()
        seen = log("questions", "answers", "oracle.dlq")
        async with Publisher(service, settings=chosen) as publisher:
            good = await publisher.publish_async(Asked(text="before"))
            await seen.until_kinds(good, "Answered")
            start = next(each for each in seen.of(good) if each.kind == "Asked")
            body = start.value or b""
            headers = {name: value.encode() for name, value in start.headers.items()} | {"ce_sagaid": SAGA_ID.encode()}
            key = SAGA_ID.encode()
            unknown_type = headers | {"ce_type": f"{prefix}questions.Nobody".replace("-", "_").encode()}
            cases: dict[str, tuple[bytes, bytes, dict[str, bytes]]] = {
                "undecodable": (key, body[:10] + b"\xff\xfe\xfd", headers | {"ce_id": b"1"}),
                "unknown-type": (key, body, unknown_type | {"ce_id": b"2"}),
                "missing-id": (key, body, {name: value for name, value in headers.items() if name != "ce_id"}),
                "unknown-fingerprint": (key, body[:2] + bytes(8) + body[10:], headers | {"ce_id": b"4"}),
                "oversized": (key, body + b"x" * 5_000_000, headers | {"ce_id": b"5"}),
                "key-mismatch": (b"another key", body, headers | {"ce_id": b"6"}),
            }
            producer = Producer({"bootstrap.servers": kafka, "message.max.bytes": LARGE})
            topic = f"{prefix}questions"
            for key, value, said in cases.values():
                producer.produce(topic, value, key, headers=[*said.items(), ("x-mine", b"kept")], partition=0)
            assert producer.flush(30) == 0
            later = await publisher.publish_many_async([Asked(text=str(number)) for number in range(30)])
        await seen.until(lambda: all("Answered" in seen.kinds(each) for each in later))
        await seen.until_consumed(service)
        counts = dict(live.workers[0].engine.counts)

    dead = {each.headers["choreo_dlq_reason"]: each for each in seen.records if each.topic == f"{service.name}.dlq"}
    assert set(dead) == set(cases)
    for offset, (reason, (key, value, said)) in enumerate(cases.items()):
        letter = dead[reason]
        assert (letter.key.encode(), letter.value) == (key, value), reason
        told = dict(letter.headers)
        assert {name: told[name].encode() for name in said} == said, reason
        assert (told["x-mine"], told["choreo_dlq_topic"], told["choreo_dlq_partition"]) == ("kept", topic, "0")
        assert told["choreo_dlq_service"] == service.name
        assert told["choreo_dlq_error"].startswith(f"{reason}: ")
        assert int(told["choreo_dlq_offset"]) >= offset
        assert counts[f"dead-lettered:{reason}"] == 1
    assert counts["dead-lettered"] == len(cases) == sum(each.topic.endswith(".dlq") for each in seen.records)
    # In their partition too, what stood behind them was read.
    assert any(each.partition == 0 for each in seen.records if each.kind == "Answered")
