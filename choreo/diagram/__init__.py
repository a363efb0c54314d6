"""Pictures of a choreography.

Mermaid, DOT and text are each written from the same `Picture` of the graph; `drawing` makes SVG of it, and `checks`
says what is wrong in it. Every form is a pure function of a choreography, the same for the same handlers in whatever
order they were named. The command line calls what is named here.
"""

from choreo.diagram.dot import dot
from choreo.diagram.mermaid import mermaid
from choreo.diagram.picture import Picture
from choreo.diagram.text import text

__all__ = ["Picture", "dot", "mermaid", "text"]
