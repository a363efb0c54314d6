"""What handlers may ask for and return besides events: `Context`, `State` and `Later`.

Users name them in type hints; the runtime makes and reads them.
"""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from choreo.event import Envelope, Event
from choreo.saga import EventUnion, alternatives

E_co = TypeVar("E_co", bound=Event, covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Where and why a handler is called. A handler that has a parameter of this type gets one.

    Attributes:
        saga_id: The saga.
        saga_type: Name of its type; "" where the starter did not say.
        business_key: What the business knows it by; "" where it has no key.
        step: `service.handler`.
        causes: The events that this call answers, with all that travels around them.
        hop: How many events the cause is away from the start.
        branch: The branch that the step runs in; "" at the root.
        completed_steps: The causal path that led here, `service.handler`, oldest first, at most 32.
        idempotency_key: The same on every retry, re-run and redrive of this step: hand it to whatever must act once.
        undoes_key: In a compensation, the idempotency key of the step undone. Make it unusable at the provider: that
            step's effect may come even after the compensation.
        attempt: Counted from 1.
        now: The time, aware, in UTC; use it instead of the system's, so that tests can move it.
        log: A logger that names the saga and the step in every record.
    """

    saga_id: str
    saga_type: str
    business_key: str
    step: str
    causes: tuple[Envelope, ...]
    hop: int
    branch: str
    completed_steps: tuple[str, ...]
    idempotency_key: str
    undoes_key: str
    attempt: int
    now: datetime
    log: "logging.LoggerAdapter[logging.Logger]"


class State(BaseModel):
    """What a service notes down about one saga; subclass it, with a default for every field.

    The service's handlers share it and may change it in place; it commits with what they emit. Fields that a later
    version no longer has are dropped when an old state is read.
    """

    model_config = ConfigDict(extra="ignore", validate_assignment=True)


@dataclass(frozen=True, slots=True)
class Later(Generic[E_co]):
    """An event that a handler returns now and that is emitted later.

    Args:
        event: What to emit.
        after: How long after this step's commit; this or `at`.
        at: When, aware; this or `after`.
        unless: Events that call it off if one of them comes first.

    Raises:
        ValueError: If not exactly one of `after` and `at` is given, `after` is negative or `at` is naive.
    """

    event: E_co
    after: timedelta | None = None
    at: datetime | None = None
    unless: EventUnion | None = None

    def __post_init__(self) -> None:
        """Refuse what gives no time, or two."""
        if (self.after is None) == (self.at is None):
            raise ValueError("Later(...): give either after=timedelta(...) or at=datetime(...)")
        if self.after is not None and self.after < timedelta():
            raise ValueError(f"Later(after={self.after}): a time to wait is not negative")
        if self.at is not None and self.at.tzinfo is None:
            raise ValueError(f"Later(at={self.at}): a naive time is a different one on every host; pass an aware one")

    @property
    def named(self) -> tuple[type[Event], ...]:
        """Return the events that call it off."""
        return alternatives(self.unless)
