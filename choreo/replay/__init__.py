"""Recorded sagas through today's code: what would be done otherwise.

What is recorded is read from topics (`reading`) or from a tracker's store (`stored`) into plain records (`recording`);
`steps` reads off what a service did, `order` in which order it did so, `rerun` takes today's code of one service along
that way, with `outcome` in place of handlers that must not run, and `comparison` tells the two apart. `guard` puts them
together. Nothing here emits, and no effect on the world outside happens. The command line and tests call it.
"""

from choreo.replay.comparison import Change, Difference
from choreo.replay.fields import FieldChange
from choreo.replay.guard import Replayed, Report, replay, replayed
from choreo.replay.reading import recorded
from choreo.replay.recording import EVENTS_MAX, SAGAS_MAX, Recording

__all__ = [
    "EVENTS_MAX",
    "SAGAS_MAX",
    "Change",
    "Difference",
    "FieldChange",
    "Recording",
    "Replayed",
    "Report",
    "recorded",
    "replay",
    "replayed",
]
