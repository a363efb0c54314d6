"""What a client error means for us.

The reading of librdkafka's error flags lives here; acting on it does not. The transaction and the source ask it after every
call that failed.
"""

from enum import Enum

from confluent_kafka import KafkaError, KafkaException

_FENCED = frozenset(
    {
        KafkaError._FENCED,  # noqa: SLF001 - librdkafka's own codes carry an underscore.
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.FENCED_INSTANCE_ID,
    }
)


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
