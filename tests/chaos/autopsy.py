"""What is to be known of a run that broke its promises, while its brokers and workers still live.

Where every partition ends, for all readers and for those of committed records, what each group has committed of it, and
where every thread of every worker is live here. A breach that comes once in a hundred runs must explain itself at once.
"""

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from confluent_kafka import Consumer, IsolationLevel, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from tests.chaos.workers import Workers

CALL_TIMEOUT_S = 20.0
STACKS_S = 2.0
LOG_LINES = 80


def autopsy(bootstrap: str, workers: Workers, cluster: Path) -> Iterator[str]:
    """Yield a report, line by line; what cannot be found out says so in its place.

    Args:
        bootstrap: The brokers.
        workers: Those that run `tests.chaos.work` say where their threads are.
        cluster: The folder with the brokers' logs.
    """
    yield from _told("offsets", lambda: _offsets(bootstrap))
    for process in workers.live.values():
        process.send_signal(signal.SIGUSR1)
    time.sleep(STACKS_S)
    for service, process in workers.live.items():
        yield from _told(
            f"{service}, process {process.pid}, exit code {process.poll()}", lambda s=service: _end(workers.log(s))
        )
    for log in sorted(cluster.glob("*/broker.log")):
        yield from _told(f"broker {log.parent.name}", lambda log=log: _end(log))


def _told(what: str, find: Callable[[], list[str]]) -> Iterator[str]:
    yield f"--- {what}"
    try:
        yield from find()
    except Exception as error:
        yield f"not to be found out: {error!r}"


def _end(log: Path) -> list[str]:
    return log.read_text(errors="replace").splitlines()[-LOG_LINES:]


def _offsets(bootstrap: str) -> list[str]:
    """Return a line for every partition that has records: where it ends, and how far each group is."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    topics = admin.list_topics(timeout=CALL_TIMEOUT_S).topics.values()
    partitions = [TopicPartition(topic.topic, number) for topic in topics for number in topic.partitions]
    highs, stables = (
        _ends(admin, partitions, level) for level in (IsolationLevel.READ_UNCOMMITTED, IsolationLevel.READ_COMMITTED)
    )
    groups = [each.group_id for each in admin.list_consumer_groups(request_timeout=CALL_TIMEOUT_S).result().valid]
    committed = {group: _committed(bootstrap, group, partitions) for group in groups}
    lines = []
    for each in partitions:
        place = each.topic, each.partition
        if not highs.get(place):
            continue
        # A transaction's mark takes an offset of its own, behind the last one that a group can commit.
        lags = [f"{group} {offsets[place] - highs[place]}" for group, offsets in committed.items() if place in offsets]
        open_ = "" if stables.get(place) == highs[place] else f", OPEN since {stables.get(place)}"
        lines.append(f"{each.topic}[{each.partition}] ends {highs[place]}{open_}; {', '.join(lags)}")
    return lines


def _ends(admin: AdminClient, partitions: list[TopicPartition], level: IsolationLevel) -> dict[tuple[str, int], int]:
    asked = admin.list_offsets(
        {each: OffsetSpec.latest() for each in partitions}, isolation_level=level, request_timeout=CALL_TIMEOUT_S
    )
    return {(each.topic, each.partition): future.result().offset for each, future in asked.items()}


def _committed(bootstrap: str, group: str, partitions: list[TopicPartition]) -> dict[tuple[str, int], int]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group})
    try:
        found = consumer.committed(partitions, timeout=CALL_TIMEOUT_S)
        return {(each.topic, each.partition): each.offset for each in found if each.offset >= 0}
    finally:
        consumer.close()
