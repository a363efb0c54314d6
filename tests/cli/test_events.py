from choreo.cli.commands.events import Tail
from choreo.tracker.row_decoder import RowDecoder
from choreo.tracker.views import EventView
from tests.tracker.orders import MANIFESTS, Topics, completed, placed


def tail(topics: Topics, *, only: str = "", from_beginning: bool = True) -> list[EventView]:
    chosen = frozenset({only} - {""})
    return list(Tail(topics, RowDecoder(), chosen, from_beginning=from_beginning, leave=True).events())  # type: ignore[arg-type]


def topics_with(*manifests: object) -> Topics:
    topics = Topics()
    topics.announce(*manifests)  # type: ignore[arg-type]
    topics.write(completed("order-1").records)
    return topics


def test_events_are_decoded_with_sensitive_fields_masked():
    events = tail(topics_with(*MANIFESTS))
    assert [event.type for event in events][:2] == ["orders.OrderPlaced", "orders.InventoryReserved"]
    assert len(events) == 6
    assert events[0].payload is not None
    assert events[0].payload["card"] == "***"
    assert events[0].payload["address"] == {"street": "***", "city": "Ulm"}


def test_without_a_beginning_only_what_comes_is_shown():
    topics = topics_with(*MANIFESTS)
    assert tail(topics, from_beginning=False) == []


def test_topics_that_are_announced_on_the_way_are_shown_whole():
    topics = Topics()
    topics.logs["choreo.manifests", 0] = []
    tailing = Tail(topics, RowDecoder(), frozenset(), from_beginning=False, leave=False).events()  # type: ignore[arg-type]
    reader = topics.reader

    def announce_then_read(names, offsets=None):
        # The first reader finds the end; what follows is what comes while it is watched.
        if topics.readers == 1:
            topics.announce(*MANIFESTS)
            topics.write(placed("order-3").records)
        return reader(names, offsets)

    topics.reader = announce_then_read  # type: ignore[method-assign]
    assert next(tailing).business_key == "order-3"


def test_only_the_topics_that_were_asked_for_are_read():
    assert tail(topics_with(*MANIFESTS), only="elsewhere") == []


def test_what_cannot_be_read_is_passed_over(capsys):
    topics = topics_with(*MANIFESTS)
    topics.append("orders", b"not avro", b"key")
    topics.append("choreo.manifests", b"not json", b"key")
    assert len(tail(topics)) == 6
    told = capsys.readouterr().err
    assert "orders/0@6 cannot be read" in told
    assert "a manifest cannot be read" in told


def test_the_silence_of_a_busy_broker_is_not_the_end():
    topics = topics_with(*MANIFESTS)
    reader = topics.reader

    def slow(names, offsets=None):
        opened = reader(names, offsets)
        poll, answers = opened.poll, iter([False, False])
        opened.poll = lambda timeout_s, records_max: poll(timeout_s, records_max) if next(answers, True) else []
        return opened

    topics.reader = slow  # type: ignore[method-assign]
    assert len(tail(topics)) == 6
