"""The drawing that choreo makes itself, without Graphviz.

From a picture to cards, to rows and columns, to lines between them, to pixels, to one SVG document: a module for each
step. What there is to show is not decided here (`picture`).
"""

from choreo.diagram.drawing.document import svg

__all__ = ["svg"]
