"""The codes of what the graph of all services shows to be wrong.

The codes and their titles live here, one line each; docs/errors has a page for each. What one function or service gets
wrong has its codes in `choreo.service`.
"""

from types import MappingProxyType

CODES = MappingProxyType(
    {
        "CH100": "A failure leaves something that was done",
        "CH101": "An undoing waits for one that may never run",
        "CH103": "A step whose outcome is unknown is not undone (a warning)",
        "CH104": "What a step's retries end with does not undo it",
        "CH105": "A saga may fail when it has completed",
        "CH106": "A saga that may fail has no failing end",
        "CH107": "A saga is completed within a branch",
        "CH108": "A deadline awaits what only its branches bring",
    }
)
"""Code → title."""

WARNINGS = frozenset({"CH103"})
"""Codes that keep nothing from running."""
