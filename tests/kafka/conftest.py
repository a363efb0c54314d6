"""A log of topics that is closed with the test."""

from collections.abc import Callable, Iterator

import pytest

from tests.kafka.desk import ENDS, JOURNAL, Log


@pytest.fixture
def log(kafka: str, prefix: str) -> Iterator[Callable[..., Log]]:
    """Return a call that opens a `Log` of topics, by their names without the prefix, with journal and ends."""
    opened: list[Log] = []

    def open_log(*topics: str) -> Log:
        opened.append(Log(kafka, [*(f"{prefix}{topic}" for topic in topics), JOURNAL, ENDS]))
        return opened[-1]

    yield open_log
    for each in opened:
        each.close()
