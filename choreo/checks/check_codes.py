"""The codes of what the graph of all services shows to be wrong.

The codes and their titles live here, one line each; docs/errors has a page for each. What one function or service gets
wrong has its codes in `choreo.service`.
"""

from types import MappingProxyType

CODES = MappingProxyType(
    {
        # Every event has two ends.
        "CH012": "An event is returned that nobody handles, and another one of nearly that name is awaited (a warning)",
        "CH062": "Branches are gathered that nobody opens",
        "CH070": "An event is handled that nobody emits (a warning)",
        "CH071": "An event is published from outside that nobody handles (a warning)",
        "CH072": "A compensation's cause is neither a failure nor what a compensation emits (a warning)",
        "CH073": "A saga has no way to complete",
        # What sagas undo, and how they end.
        "CH100": "A failure leaves something that was done",
        "CH101": "An undoing waits for one that may never run",
        "CH102": "An undoing does not wait for that of what came later (a warning)",
        "CH103": "A step whose outcome is unknown is not undone (a warning)",
        "CH104": "What a step's retries end with does not undo it",
        "CH105": "A saga may fail when it has completed",
        "CH106": "A saga that may fail has no failing end",
        "CH107": "A saga is completed within a branch",
        "CH108": "A deadline awaits what only its branches bring",
        "CH109": "What unless may keep from coming is waited for",
        # What is never reached, or never ends.
        "CH110": "A handler is never reached",
        "CH111": "An event is for nobody, though others of its step are handled (a warning)",
        "CH112": "A failure does not end its saga",
        "CH113": "A circle of handlers has no bound (a warning)",
        "CH114": "A join never fills",
        "CH115": "A wait may never end (a warning)",
        "CH116": "A deadline is decided before it is set",
        "CH118": "A saga has no way to fail",
        "CH119": "Services disagree about an event",
        "CH120": "A step whose outcome is unknown is not undone first",
        # What a deploy breaks (`choreo.deploy`, `choreo.schema.evolution`).
        "CH121": "A handler is gone, and live sagas have steps of it",
        "CH122": "A compensation is gone, and live sagas may need it",
        "CH123": "An event is taken no more, and live sagas have it",
        "CH124": "A deadline is gone, and live sagas have set it",
        "CH125": "A saga type is changed, and sagas of it are live",
        "CH126": "A step waits for more than live sagas bring",
        "CH127": "An event is changed, and not all can read it",
        "CH128": "An event is gone, and other services go on with it",
    }
)
"""Code → title."""

WARNINGS = frozenset({"CH012", "CH070", "CH071", "CH072", "CH102", "CH103", "CH111", "CH113", "CH115"})
"""Codes that keep nothing from running."""
