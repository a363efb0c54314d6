"""The tracker: the read-only projection that rebuilds every saga's state from the topics alone.

What programs use is exported from here; each name lives in the module that its import says. The follower writes the
store and nothing else, and the trackers only read it.
"""

from choreo.tracker.client import AsyncTracker, Tracker
from choreo.tracker.follower import Follower
from choreo.tracker.store import Store
from choreo.tracker.views import EventView, Flag, Lag, NoteView, Page, Reason, SagaStep, SagaView, StepStatus, plain

__all__ = [
    "AsyncTracker",
    "EventView",
    "Flag",
    "Follower",
    "Lag",
    "NoteView",
    "Page",
    "Reason",
    "SagaStep",
    "SagaView",
    "StepStatus",
    "Store",
    "Tracker",
    "plain",
]
