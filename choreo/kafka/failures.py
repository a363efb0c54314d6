"""What a client error means for us.

The reading of librdkafka's error flags lives here; acting on it does not. The transaction and the source ask it
after every call that failed.
"""

from enum import Enum

from confluent_kafka import KafkaError, KafkaException

from choreo.errors import Problem, TopicProblem, TransportError

_FENCED = frozenset(
    {
        KafkaError._FENCED,  # noqa: SLF001 - librdkafka's own codes carry an underscore.
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.FENCED_INSTANCE_ID,
    }
)


# What no retry mends, and what does.
_TOPIC_FIXES = {
    KafkaError.MSG_SIZE_TOO_LARGE: "raise the topic's max.message.bytes, or lower event_bytes_max",
    KafkaError.UNKNOWN_TOPIC_OR_PART: "run `choreo topics apply`",
    KafkaError._UNKNOWN_TOPIC: "run `choreo topics apply`",  # noqa: SLF001 - librdkafka's own codes.
    KafkaError._UNKNOWN_PARTITION: "give all topics of the service one partition count",  # noqa: SLF001
    KafkaError.INVALID_REPLICATION_FACTOR: "set CHOREO_REPLICATION to at most the number of brokers",
    KafkaError.INVALID_RECORD: "only records with a key may go to a compacted topic",
}
_RIGHTS = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "Read and Write on its topics",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "Read on the group that is named as it",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "Write on TRANSACTIONAL_ID, prefixed by its name",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "IdempotentWrite (for topics: Create) on the cluster",
}


class Meaning(Enum):
    """What to do next."""

    AGAIN = "the same call may be made again"
    ABORT = "the transaction must be aborted, and the batch read again"
    RENEW = "the producer is of no use any more; the commit may have happened"
    FENCED = "another process has taken this one's identity"


def error_of(exception: KafkaException) -> KafkaError:
    """Return the error that a client exception carries."""
    error: KafkaError = exception.args[0]
    return error


def meaning(exception: KafkaException) -> Meaning:
    """Return what an error of a transactional call means."""
    error = error_of(exception)
    if error.code() in _FENCED:
        return Meaning.FENCED
    if error.fatal():
        return Meaning.RENEW
    if error.txn_requires_abort():
        return Meaning.ABORT
    if error.retriable():
        return Meaning.AGAIN
    return Meaning.RENEW


def fences_consumer(error: KafkaError) -> bool:
    """Return whether an error that a poll brought says that this member has been replaced.

    A fatal error comes as a code of its own, with the reason in its text and the flag unset.
    """
    return bool(error.fatal() or error.code() in {KafkaError._FATAL, KafkaError.FENCED_INSTANCE_ID})  # noqa: SLF001


def permanent(error: KafkaError, topic: str = "") -> TransportError | None:
    """Return what to raise for an error that comes again however often the call is made; None for any other.

    Args:
        error: What the client said.
        topic: Where, if that is known.
    """
    code = error.code()
    where = f"topic {topic}: " if topic else ""
    if code in _TOPIC_FIXES:
        return TopicProblem([Problem("CH084", f"{where}{error.str()}", "", _TOPIC_FIXES[code])])
    if code in _RIGHTS:
        return TransportError(f"{where}the brokers refuse us: {error.str()}. The service needs {_RIGHTS[code]}.")
    return None
