"""What the events of every choreography here have in common.

The saga's key, and which of its steps are to say no or to raise, travel in every event, so that each outcome of each
handler can be asked for when a saga is started. What the events mean is each choreography's own.
"""

from typing import Self

from pydantic import Field

from choreo import Event, Failure


class Fact(Event):
    """An event that says how its saga is to go on.

    Args:
        key: The saga's business key.
        no: Handlers that say no, by name, or what else is refused.
        raises: Handlers that raise, by name.
    """

    key: str
    no: list[str] = Field(default=[])
    raises: list[str] = Field(default=[])

    @classmethod
    def after(cls, cause: "Fact", **more: object) -> Self:
        """Return an event that goes on as its cause says."""
        return cls.model_validate({"key": cause.key, "no": cause.no, "raises": cause.raises, **more})


class Refusal(Fact, Failure):
    """A failure that goes on as its cause says."""

    reason: str = "so it was asked"
