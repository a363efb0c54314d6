"""Recorded sagas run through today's code: what would be done otherwise.

`recording_reader` reads what is recorded from topics or a tracker's store; `replayed_step` finds what a service did,
`arrival_order` in which order, `rerun` runs today's code of one service over it, with `recorded_outcome` in place of
handlers that must not run, and `difference` compares the two. `replayer` puts them together. Nothing here emits, and
the world outside is not touched. The command line and tests call it.
"""

from choreo.replay.difference import Change, Difference, FieldChange
from choreo.replay.recorded_saga import EVENTS_MAX, SAGAS_MAX, Recording
from choreo.replay.recording_reader import recorded
from choreo.replay.replayer import ReplayReport, SagaReplay, replay, replayed

__all__ = [
    "EVENTS_MAX",
    "SAGAS_MAX",
    "Change",
    "Difference",
    "FieldChange",
    "Recording",
    "ReplayReport",
    "SagaReplay",
    "recorded",
    "replay",
    "replayed",
]
