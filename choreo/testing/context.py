"""A `Context` for the unit test of one handler.

Sensible values for every field live here; what a step really gets is made by the runtime. Tests call it.
"""

import logging
from typing import Any

from choreo.clock import ManualClock
from choreo.event import emitted_id
from choreo.service import Context

SAGA_ID = "018f0000-0000-7000-8000-000000000000"


def context(**fields: Any) -> Context:  # The fields of Context, each of its own type.
    """Return a context with the given fields, and values that fit each other for the rest.

    Args:
        fields: Any of `Context`'s; `idempotency_key` follows `saga_id` and `step` unless given.
    """
    chosen: dict[str, Any] = {
        "saga_id": SAGA_ID,
        "saga_type": "",
        "business_key": "",
        "step": "service.handler",
        "causes": (),
        "hop": 0,
        "branch": "",
        "completed_steps": (),
        "undoes_key": "",
        "attempt": 1,
        "now": ManualClock().now(),
        **fields,
    }
    chosen.setdefault("idempotency_key", emitted_id(chosen["saga_id"], chosen["step"], chosen["branch"], "", "effect"))
    chosen.setdefault("log", logging.LoggerAdapter(logging.getLogger("choreo"), {"saga_id": chosen["saga_id"]}))
    return Context(**chosen)
