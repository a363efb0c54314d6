"""Recorded sagas against today's code: which of them it would treat otherwise.

Taking every saga through every service lives here; one service and one saga are a `case`, and reading the recording is
`reading`'s. The command line and tests call it, as a guard before deploys.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from choreo.codec import Schemas
from choreo.errors import SchemaError
from choreo.replay.case import Case, unreadable
from choreo.replay.comparison import Difference
from choreo.replay.outcome import not_called
from choreo.replay.recording import EVENTS_MAX, RecordedSaga, Recording
from choreo.replay.rerun import Today
from choreo.service import Service, declarations


class Replayed(NamedTuple):
    """One saga, and what today's code would do otherwise."""

    saga: RecordedSaga
    differences: list[Difference]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a replay came to.

    Attributes:
        sagas: In the order of the recording.
        services: Whose code was run.
        uncalled: Steps, `service.handler`, that were not called and were taken to have done what is recorded; and why.
    """

    sagas: list[Replayed]
    services: list[str]
    uncalled: dict[str, str] = field(default_factory=dict)


def replay(
    services: Iterable[Service],
    recorded: Recording,
    *,
    replace: Mapping[type, object] | None = None,
    uncalled: Collection[str] = (),
) -> list[Difference]:
    """Return what today's code would do otherwise than recorded; nothing is the answer to hope for.

    Every service is given what it was given then, in that order and at that time. A handler that takes nothing but
    events, `Context` and `State` is called. One that uses a resource is not, unless something stands in for it: what it
    did then counts as what it does. Nothing is emitted and no provider runs. The same arguments give the same answer.

    Args:
        services: Today's code.
        recorded: Sagas, from `recorded(…)`.
        replace: What stands in for resources, by their provided types; handlers whose resources are all here are
            called, too, possibly several times.
        uncalled: Further steps that are not to be called, `service.handler`: those that reach the outside world by
            other ways than their resources.

    Raises:
        DeclarationError: If the services cannot run as declared, all mistakes at once.
    """
    report = replayed(services, recorded, replace=replace, uncalled=uncalled)
    return [each for saga in report.sagas for each in saga.differences]


def replayed(
    services: Iterable[Service],
    recorded: Recording,
    *,
    replace: Mapping[type, object] | None = None,
    uncalled: Collection[str] = (),
) -> Report:
    """Return what `replay` returns, saga by saga, with what was not called.

    Raises:
        DeclarationError: If the services cannot run as declared, all mistakes at once.
    """
    guard = _Guard(services, recorded, dict(replace or {}), uncalled)
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(guard.report())
    # A loop cannot run within a loop.
    with ThreadPoolExecutor(1, thread_name_prefix="replay") as elsewhere:
        return elsewhere.submit(asyncio.run, guard.report()).result()


class _Guard:
    """Today's code of all services, and the recording that it is held against."""

    def __init__(
        self,
        services: Iterable[Service],
        recorded: Recording,
        replaced: Mapping[type, object],
        uncalled: Collection[str],
    ) -> None:
        self._recorded = recorded
        schemas = Schemas()
        self._today = [
            Today(
                each, schemas, recorded, replaced, not_called(each, replaced.keys(), uncalled, masked=recorded.masked)
            )
            for each in declarations(*services)
        ]
        for manifest in recorded.manifests:
            for schema in manifest.schemas.values():
                # One that contradicts today's has events that cannot be read, which is told where they come.
                with suppress(SchemaError):
                    schemas.add(schema)

    async def report(self) -> Report:
        """Take every saga through every service."""
        try:
            sagas = [Replayed(saga, await self._saga(saga)) for saga in self._recorded.sagas]
        finally:
            for each in self._today:
                each.close()
        uncalled = {
            f"{each.declaration.name}.{name}": why for each in self._today for name, why in each.uncalled.items()
        }
        return Report(sagas=sagas, services=[each.declaration.name for each in self._today], uncalled=uncalled)

    async def _saga(self, saga: RecordedSaga) -> list[Difference]:
        if saga.cut:
            text = f"it has more than {EVENTS_MAX} events or notes, and sagas that long are not replayed"
            return [unreadable(saga, text)]
        found: list[Difference] = []
        for each in self._today:
            found += await Case(each, saga, self._recorded).differences()
        return found
