"""The choreography: all services together, compiled once from what their manifests say.

The graph of events and handlers and every question about it live here; no record, no saga in progress and no service
code does. The runtime asks which saga types concern a service, the tracker what a saga may still come to, and checks,
diagrams and documents ask the rest. Pure: no I/O, no clock.
"""

from choreo.choreography.nodes import NOTHING, Names, Node, SagaType
from choreo.choreography.service_graph import Choreography

__all__ = ["NOTHING", "Choreography", "Names", "Node", "SagaType"]
