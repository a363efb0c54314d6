"""The runtime with its seek-back taken out: every tenth commit aborts, and it goes on behind what was not committed."""

import itertools

from choreo.errors import TransactionAborted
from choreo.kafka.source import KafkaSource
from choreo.transport import Commit
from tests.chaos.work import work

ABORT_EVERY = 10
_commits = itertools.count(1)
_commit = KafkaSource.commit


def commit(self: KafkaSource, batch: Commit) -> None:
    if next(_commits) % ABORT_EVERY == 0:
        self._producer.abort()
        raise TransactionAborted("as brokers abort now and then; nothing was written, and nobody seeks back")
    _commit(self, batch)


KafkaSource.commit = commit

if __name__ == "__main__":
    work()
