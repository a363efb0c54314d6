"""The composition root: services, settings and brokers become running workers.

Starting, stopping, health and the slots of a host live here; how an engine is put together does not
(`runtime.assembly`). The command line and users call `run` and `running`; nothing else imports this.
"""

from choreo.launch.process import Running, run, running, tune_garbage_collection
from choreo.topics import apply_topics, check_topics, plan_topics

__all__ = [
    "Running",
    "apply_topics",
    "check_topics",
    "plan_topics",
    "run",
    "running",
    "tune_garbage_collection",
]
