"""Which live sagas a deploy would strand (R38).

New versions of services are compared with those that run, and what changes is looked for in the sagas that are under
way. `choreo check --against` asks brokers and a tracker for both, and calls `stranding`. No I/O.
"""

from collections.abc import Iterable, Sequence

from choreo.deploy.service_changes import ServiceChange, changes
from choreo.errors import Problem
from choreo.manifest import Manifest
from choreo.tracker import SagaView

__all__ = ["CODES", "stranding"]

SAMPLE_MAX = 3  # Sagas that are named of those that a change strands.
CODES = frozenset({"CH121", "CH122", "CH123", "CH124", "CH125", "CH126"})  # All that `stranding` tells.


def stranding(running: Iterable[Manifest], new: Iterable[Manifest], live: Iterable[SagaView] | None) -> list[Problem]:
    """Return what a deploy strands.

    Args:
        running: What services have announced, the oldest first.
        new: The services that are to be deployed, as they are to be; the others stay as they are.
        live: The sagas that are not at rest, gone through once, and not at all where nothing changes for them; None
            where nobody knows, and then what may be stranded in principle is returned.
    """
    found = changes(running, new)
    if live is None:
        return [_problem(each, f"perhaps with {each.left} in live sagas") for each in found]
    counts = [0] * len(found)
    samples: list[list[str]] = [[] for _ in found]
    for saga in live if found else ():
        for at, change in enumerate(found):
            if change.strands(saga):
                counts[at] += 1
                if counts[at] <= SAMPLE_MAX:
                    samples[at].append(f"{saga.business_key} ({saga.saga_id})" if saga.business_key else saga.saga_id)
    return [
        _problem(change, f"with {change.left} in {count} live saga{'s' * (count != 1)}: {_named(sample, count)}")
        for change, count, sample in zip(found, counts, samples, strict=True)
        if count
    ]


def _problem(change: ServiceChange, consequence: str) -> Problem:
    return Problem(change.code, f"{change.what}, {consequence}", change.place, change.fix)


def _named(sample: Sequence[str], count: int) -> str:
    more = [f"{count - len(sample)} more"] if count > len(sample) else []
    return ", ".join([*sample, *more])
