"""What choreo raises.

Errors name a condition, and say whether retrying helps:

    ChoreoError
    ├── DeclarationError           services were declared in a way that cannot run; never retried
    │   ├── UndeclaredEmission     a handler returned what its hint does not name
    │   └── HandlerSignatureError  the type hints of one handler cannot be read
    ├── SchemaError                an event and its Avro schema do not fit; never retried
    │   ├── IncompatibleSchema     the reader cannot read what the writer wrote
    │   └── UndecodableRecord      one record cannot be read; it goes to the dead letters
    ├── TransportError             the brokers could not do what was asked
    │   ├── BrokerUnavailable      no broker answers, or not in time
    │   ├── TopicProblem           a topic is missing or has the wrong shape; mend it, then start again
    │   ├── BufferFull             a bounded buffer is full; wait and try again
    │   ├── TransactionAborted     the batch was rolled back; its records are read again
    │   └── Fenced                 another process took this one's place; this one must stop
    └── StepError                  one step of one saga could not be done
        ├── HandlerFailed          a handler raised; retried by its policy
        └── RetriesExhausted       its retries are spent; the step is parked
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a declaration, a topic or a setting, and how to mend it.

    Args:
        code: Stable code such as `CH012`; docs/errors has a page for each.
        message: What is wrong, naming the handler, event or service.
        place: `file.py:line`, or "" where there is none.
        fix: What to type instead.
    """

    code: str
    message: str
    place: str = ""
    fix: str = ""

    def __str__(self) -> str:
        """Return the problem on one line: code, message, fix, place."""
        return "  ".join(part for part in (f"{self.code} {self.message}", self.fix, self.place) if part)


def guess(name: str, known: Iterable[str], otherwise: str) -> str:
    """Return "Did you mean …?" where a known name is close, else what to do instead."""
    close = get_close_matches(name, list(known), 1)
    return f"Did you mean {close[0]}?" if close else otherwise


class ChoreoError(Exception):
    """The root of all errors that choreo raises on purpose."""


class DeclarationError(ChoreoError):
    """Services were declared in a way that cannot run. Retrying does not help.

    Args:
        problems: Every mistake found, not only the first.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class UndeclaredEmission(DeclarationError):
    """A handler returned an event that its return hint does not name. The step is parked and nothing is published."""


class HandlerSignatureError(DeclarationError):
    """The type hints of one handler cannot be read."""


class SchemaError(ChoreoError):
    """An event type has no exact Avro form, or two schemas do not fit. Retrying does not help."""


class IncompatibleSchema(SchemaError):
    """What a writer wrote cannot be read as what the reader declares."""


class UndecodableRecord(SchemaError):
    """One record cannot be read. Retrying does not help.

    Args:
        reason: Stable word for counting: `undecodable`, `unknown-type`, `missing-id`, `unknown-fingerprint`,
            `oversized`, `key-mismatch`, `memory-unreadable`, `waiting-full`.
        text: What is wrong with this record.
    """

    def __init__(self, reason: str, text: str) -> None:
        self.reason = reason
        super().__init__(f"{reason}: {text}")


class TransportError(ChoreoError):
    """The brokers could not do what was asked."""


class BrokerUnavailable(TransportError):
    """No broker answered in time. Retrying helps once they are back."""


class TopicProblem(TransportError):
    """Topics are missing or do not fit. Mend them (`choreo topics apply`), then start again.

    Args:
        problems: Every topic that is wrong, with what to do.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class BufferFull(TransportError):
    """A bounded buffer is full. Retrying helps once the brokers have taken what waits."""


class TransactionAborted(TransportError):
    """The batch was rolled back: nothing of it was committed, and its records are read again."""


class Fenced(TransportError):
    """Another process has taken this one's identity or partitions. This one must stop, and publish nothing more."""


class StepError(ChoreoError):
    """One step of one saga could not be done.

    Args:
        message: What happened and how to mend it.
        service: Name of the service.
        saga_id: The saga.
        event_id: The event that made the step ready.
    """

    def __init__(self, message: str, *, service: str = "", saga_id: str = "", event_id: str = "") -> None:
        self.service = service
        self.saga_id = saga_id
        self.event_id = event_id
        super().__init__(message)


class HandlerFailed(StepError):
    """A handler raised. It is tried again as its `Retry` says."""


class RetriesExhausted(StepError):
    """A handler raised on its last attempt. Its step is parked for a person."""
