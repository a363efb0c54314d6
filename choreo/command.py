"""What a person asks a service to do about a step that waits: try it again, or take it as done.

The record of `choreo.commands` lives here, with its JSON form; what is done about it does not (`step.repair`). The
command line writes them, and the service that they name reads them (SEMANTICS 28).
"""

from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from choreo.errors import UndecodableRecord

COMMANDS = "choreo.commands"
FORMAT_VERSION = 1
TEXT_CHARS_MAX = 2000


class Command(BaseModel):
    """One command: who wants what done about which step, and why."""

    # A later version may say more; what it says of what is known here stays true.
    model_config = ConfigDict(frozen=True, extra="ignore")

    version: int = Field(FORMAT_VERSION, description="Of this format.")
    command_id: str = Field(
        min_length=1, max_length=64, description="Its identity: the same id again is the same command."
    )
    command: Literal["retry", "resolve"] = Field(
        description="retry: the step is tried again from its first attempt. resolve: it is taken as done."
    )
    saga_id: str = Field(description="The saga; equals the record's key.")
    service: str = Field(description="Whose step it is.")
    handler: str = Field(description="The step's handler.")
    branch: str = Field("", description="The step's branch; empty at the root.")
    trigger: str = Field("", description="What the step runs for, as the journal has it; empty for a join.")
    actor: str = Field(min_length=1, max_length=TEXT_CHARS_MAX, description="The person who asks.")
    reason: str = Field(min_length=1, max_length=TEXT_CHARS_MAX, description="Why, for people.")
    event_type: str = Field(
        "", description="Of a resolve: the event that the step is taken to have emitted; empty for none."
    )
    payload: dict[str, Any] | None = Field(None, description="That event's fields, as JSON.")
    at: AwareDatetime = Field(description="When it was asked.")

    def to_bytes(self) -> bytes:
        """Return the record's value: JSON, without spaces."""
        return self.model_dump_json().encode()

    @classmethod
    def from_record(cls, key: bytes | None, value: bytes | None) -> "Command":
        """Return the command that a record holds.

        Raises:
            UndecodableRecord: If it is none; retrying does not help.
        """
        try:
            command = cls.model_validate_json(value or b"")
        except (ValidationError, RecursionError) as error:
            raise UndecodableRecord("undecodable", f"not a command: {error}") from error
        if command.saga_id.encode() != key:
            raise UndecodableRecord("key-mismatch", "a command's saga_id must be its key")
        return command
