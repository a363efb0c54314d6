"""Pictures of a choreography.

Mermaid, DOT, SVG and text are each drawn from the same `Picture` of the graph; deciding what is wrong in it is not done
here (`checks`). Every form is a pure function of a choreography, the same for the same handlers in whatever order they
were named. The command line calls what is named here.
"""

from choreo.diagram.dot import dot
from choreo.diagram.drawing import svg
from choreo.diagram.mermaid import mermaid
from choreo.diagram.picture import Picture
from choreo.diagram.text import text

__all__ = ["Picture", "dot", "mermaid", "svg", "text"]
