"""The drawing that choreo makes itself, without Graphviz.

From a picture to cards, to rows and columns, to lines between them, to pixels, to one SVG document: a module for each
step. It needs nothing but a `Picture`, and only the command line needs it.
"""

from choreo.svg.document import svg

__all__ = ["svg"]
