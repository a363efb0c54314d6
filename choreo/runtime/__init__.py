"""Poll, step, commit: the loop that drives the pure core over a transport.

The engine (one batch in, one commit out), the calling of handlers with their resources, and the worker that polls,
commits, drains and is watched live here; what a step means does not (`step`), nor how bytes travel (`transport`).
`launch` puts workers together; `testing` drives the same engine without threads.
"""

from choreo.runtime.batch import BatchResult
from choreo.runtime.engine import Engine
from choreo.runtime.resources import Resources
from choreo.runtime.worker import Worker

__all__ = ["BatchResult", "Engine", "Resources", "Worker"]
