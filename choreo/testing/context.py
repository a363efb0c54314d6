"""A `Context` for the unit test of one handler.

Sensible values for every field live here; what a step really gets is made by the runtime. Tests call it.
"""

import logging
from datetime import datetime
from typing import TypedDict, Unpack

from choreo.clock import ManualClock
from choreo.event import Envelope, emitted_id
from choreo.service import Context

SAGA_ID = "018f0000-0000-7000-8000-000000000000"
SERVICE = "service"
HANDLER = "handler"


class ContextFields(TypedDict, total=False):
    """What may be said of a context: `Context`'s own fields, and two that make up its `step`."""

    service: str
    handler: str
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


def context(**fields: Unpack[ContextFields]) -> Context:
    """Return a context with the given fields, and values that fit each other for the rest.

    Args:
        fields: Any of `Context`'s; `service` and `handler` may be given for its `step`. The keys follow from saga, step
            and branch unless given: the same twice, and others for another step.
    """
    saga_id = fields.get("saga_id", SAGA_ID)
    step = fields.get("step", f"{fields.get('service', SERVICE)}.{fields.get('handler', HANDLER)}")
    branch = fields.get("branch", "")
    return Context(
        saga_id=saga_id,
        saga_type=fields.get("saga_type", ""),
        business_key=fields.get("business_key", ""),
        step=step,
        causes=fields.get("causes", ()),
        hop=fields.get("hop", 0),
        branch=branch,
        completed_steps=fields.get("completed_steps", ()),
        idempotency_key=fields.get("idempotency_key", emitted_id(saga_id, step, branch, "", "effect")),
        # A compensation must make it unusable; it is there even where nobody says what was undone.
        undoes_key=fields.get("undoes_key", emitted_id(saga_id, step, branch, "undone", "effect")),
        attempt=fields.get("attempt", 1),
        now=fields.get("now", ManualClock().now()),
        log=fields.get("log", logging.LoggerAdapter(logging.getLogger("choreo"), {"saga_id": saga_id, "step": step})),
    )
