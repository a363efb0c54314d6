"""The tracker's client: finding, listing, counting and waiting for sagas.

`Tracker` and `AsyncTracker` live here. They read a store that a follower keeps up to date, in this process or another;
nothing is written and no broker is asked. Applications and the command line call them.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from datetime import timedelta
from functools import wraps
from itertools import chain
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from choreo.choreography import Choreography
from choreo.clock import Clock, SystemClock
from choreo.errors import ChoreoError
from choreo.event import saga_id_for
from choreo.saga import SagaState
from choreo.tracker.projection import project, shown
from choreo.tracker.rows import EventRow, microseconds, moment
from choreo.tracker.store import EVENTS, Store, bit
from choreo.tracker.views import EventView, Flag, Lag, Page, SagaView

PAGE_SAGAS_MAX = 1000
NAP_S_MIN = 0.01
NAP_S_MAX = 0.2
_Arguments = ParamSpec("_Arguments")
_Answer = TypeVar("_Answer")


class Tracker:
    """Answers what is known about sagas. Usable from any thread; every answer comes from one moment.

    Args:
        store: What a follower keeps up to date.
        clock: By which ages are told, and what is overdue.
        nap: Called between two looks of `wait` with seconds to let pass.
    """

    def __init__(self, store: Store, clock: Clock | None = None, nap: Callable[[float], object] = time.sleep) -> None:
        self._store = store
        self._clock = clock if clock is not None else SystemClock()
        self._nap = nap
        self._known: tuple[int, Choreography] | None = None

    @classmethod
    def open(cls, url: str) -> Self:
        """Open a tracker's store.

        Args:
            url: `sqlite:///` and a path: `sqlite:///tracker.db` here, `sqlite:////var/lib/tracker.db` from the root.

        Raises:
            ChoreoError: If the store is of a kind that cannot be read, or cannot be opened.
        """
        scheme, found, path = url.partition("://")
        if not found or scheme != "sqlite" or not path.startswith("/") or path == "/":
            supported = "sqlite:///path/to/file.db; http:// and postgresql:// are not supported"
            raise ChoreoError(f"{url!r}: a tracker is opened as {supported}")
        return cls(Store(path[1:]))

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def saga(self, saga_id: str) -> SagaView | None:
        """Return a saga, or None if nothing of it has been read."""
        with self._store.snapshot():
            return next(iter(self._views([saga_id])), None)

    def find(self, type: str, key: str, generation: int | None = None) -> SagaView | None:  # noqa: A002 - the word people use
        """Return the saga of this type with this business key.

        Args:
            type: Name of the saga type.
            key: The business key.
            generation: Which one, where it was repeated; the one that started last unless given.
        """
        if generation is not None:
            return self.saga(saga_id_for(type, key, generation))
        last = "WHERE business_key = ? AND type = ? ORDER BY started_us DESC, saga_id LIMIT 1"
        return next(iter(self._found(last, key, type)), None)

    def wait(self, saga_id: str, timeout_s: float = 10.0) -> SagaView:
        """Return a saga once it is at rest: completed or failed, with nothing left to do.

        Raises:
            TimeoutError: If it is not at rest in time; it says what it waits for.
        """
        naps = _naps(timeout_s)
        while (saga := self.saga(saga_id)) is None or not saga.at_rest:
            if (nap_s := next(naps, None)) is None:
                raise _timeout(saga_id, saga, timeout_s)
            self._nap(nap_s)
        return saga

    def sagas(
        self,
        *,
        type: str | None = None,  # noqa: A002 - the word people use
        state: SagaState | None = None,
        flag: Flag | str | None = None,
        older_than: timedelta | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> Page:
        """Return sagas, the one that started last first.

        Args:
            type: Of this saga type only.
            state: In this state only.
            flag: With this flag only. Not `overdue`: that is worked out when a saga is read, so all would have to be
                read. List pending sagas by `older_than`, and look at their flags.
            older_than: Started longer ago than this.
            limit: At most so many, 1 to 1,000.
            after: `next` of the page before.

        Raises:
            ValueError: If `limit`, `flag` or `after` cannot be.
        """
        if not 1 <= limit <= PAGE_SAGAS_MAX:
            raise ValueError(f"limit must be from 1 to {PAGE_SAGAS_MAX}")
        filters: dict[str, list[object]] = {}
        if type is not None:
            filters["type = ?"] = [type]
        if state is not None:
            filters["state = ?"] = [SagaState(state).value]
        if flag is not None:
            mask = bit(Flag(flag))
            if not mask:
                raise ValueError(
                    f"{flag} is worked out when a saga is read, and cannot be listed by: list by state or age, "
                    "and look at the flags of what is listed"
                )
            filters["flags <> 0 AND flags & ? <> 0"] = [mask]
        if older_than is not None:
            filters["started_us < ?"] = [microseconds(self._clock.now() - older_than)]
        if after is not None:
            filters["(started_us, saga_id) < (?, ?)"] = [*_cursor(after)]
        where = " AND ".join(filters) or "1"
        with self._store.snapshot():
            rows = self._store.ask(
                f"SELECT saga_id, started_us FROM views WHERE {where} ORDER BY started_us DESC, saga_id DESC LIMIT ?",  # noqa: S608 - fixed texts
                [*chain.from_iterable(filters.values()), limit + 1],
            )
            items = self._views([saga_id for saga_id, _ in rows[:limit]])
        last = f"{rows[limit - 1][1]}.{rows[limit - 1][0]}" if len(rows) > limit else None
        return Page(items, last)

    def recent(self, limit: int = 20) -> list[SagaView]:
        """Return the sagas that changed last, the newest first."""
        return self._found("ORDER BY updated_us DESC LIMIT ?", max(1, min(limit, PAGE_SAGAS_MAX)))

    def events(self, saga_id: str) -> list[EventView]:
        """Return a saga's events, causes before effects."""
        saga = self.saga(saga_id)
        return saga.events if saga is not None else []

    def event(self, event_id: str, saga_id: str | None = None) -> EventView | None:
        """Return one event by its id; without the saga, every event is looked through."""
        of_saga, values = (" AND saga_id = ?", [event_id, saga_id]) if saga_id else ("", [event_id])
        rows = self._store.ask(f"{EVENTS} WHERE event_id = ?{of_saga} LIMIT 1", values)
        return shown(EventRow._make(rows[0])) if rows else None

    def counts(self) -> dict[str, dict[SagaState, int]]:
        """Return how many sagas of each type are in each state, 0 included."""
        counts: dict[str, dict[SagaState, int]] = {}
        rows = self._store.ask("SELECT type, state, count(*) FROM views GROUP BY 1, 2 ORDER BY 1, 2")
        for name, state, number in rows:
            counts.setdefault(name, dict.fromkeys(SagaState, 0))[SagaState(state)] = number
        return counts

    def flag_counts(self) -> dict[Flag, int]:
        """Return how many sagas carry each flag that is stored."""
        rows = self._store.ask("SELECT flags, count(*) FROM views WHERE flags <> 0 GROUP BY flags")
        return {flag: sum(number for bits, number in rows if bits & bit(flag)) for flag in Flag if bit(flag)}

    def lag(self) -> Lag:
        """Return how far the store is behind the topics."""
        with self._store.snapshot():
            behind = self._store.ask("SELECT ended - next FROM offsets WHERE ended > next")
            checked, caught_up = self._store.mark("checked_us"), self._store.mark("caught_up_us")
            ((undecodable,),) = self._store.ask("SELECT count(*) FROM undecodable")
            ((undecoded,),) = self._store.ask("SELECT count(*) FROM events WHERE payload IS NULL")
        now = microseconds(self._clock.now())
        return Lag(
            records=sum(gap for (gap,) in behind),
            seconds=max(0, now - caught_up) / 1e6 if caught_up else None,
            partitions=len(behind),
            undecodable=undecodable,
            undecoded=undecoded,
            checked_at=moment(checked) if checked else None,
        )

    def _found(self, which: str, *values: object) -> list[SagaView]:
        with self._store.snapshot():
            rows = self._store.ask(f"SELECT saga_id FROM views {which}", values)  # noqa: S608 - fixed texts
            return self._views(saga_id for (saga_id,) in rows)

    def _views(self, saga_ids: Iterable[str]) -> list[SagaView]:
        graph = self._graph()
        rows = self._store.records(list(saga_ids))
        now_us = microseconds(self._clock.now())
        return [project(graph, saga_id, *each, now_us) for saga_id, each in rows.items() if any(each)]

    def _graph(self) -> Choreography:
        revision = self._store.mark("revision")
        if self._known is None or self._known[0] != revision:
            self._known = revision, Choreography(self._store.manifests())
        return self._known[1]


def _awaited(
    method: Callable[Concatenate[Tracker, _Arguments], _Answer],
) -> Callable[Concatenate["AsyncTracker", _Arguments], Coroutine[Any, Any, _Answer]]:
    """Return a method of `AsyncTracker` that calls this one of `Tracker` in a thread."""

    @wraps(method)
    async def call(self: "AsyncTracker", /, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Answer:
        return await asyncio.to_thread(method, self.tracker, *args, **kwargs)

    return call


class AsyncTracker:
    """A `Tracker` for programs with an event loop: the same methods, awaited; each asks the store in a thread.

    Args:
        tracker: What to ask.
    """

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker

    @classmethod
    def open(cls, url: str) -> Self:
        """Open a tracker's store, as `Tracker.open` does.

        Raises:
            ChoreoError: If the store is of a kind that cannot be read, or cannot be opened.
        """
        return cls(Tracker.open(url))

    close = _awaited(Tracker.close)
    saga = _awaited(Tracker.saga)
    find = _awaited(Tracker.find)
    sagas = _awaited(Tracker.sagas)
    recent = _awaited(Tracker.recent)
    events = _awaited(Tracker.events)
    event = _awaited(Tracker.event)
    counts = _awaited(Tracker.counts)
    flag_counts = _awaited(Tracker.flag_counts)
    lag = _awaited(Tracker.lag)

    async def wait(self, saga_id: str, timeout_s: float = 10.0) -> SagaView:
        """Return a saga once it is at rest; no thread is held while waiting.

        Raises:
            TimeoutError: If it is not at rest in time; it says what it waits for.
        """
        naps = _naps(timeout_s)
        while (saga := await self.saga(saga_id)) is None or not saga.at_rest:
            if (nap_s := next(naps, None)) is None:
                raise _timeout(saga_id, saga, timeout_s)
            await asyncio.sleep(nap_s)
        return saga

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _naps(timeout_s: float) -> Iterator[float]:
    """Yield how many seconds to let pass before each further look, until the time is up."""
    deadline, nap_s = time.monotonic() + timeout_s, NAP_S_MIN
    while (left_s := deadline - time.monotonic()) > 0:
        yield min(nap_s, left_s)
        nap_s = min(nap_s * 1.5, NAP_S_MAX)


def _timeout(saga_id: str, saga: SagaView | None, timeout_s: float) -> TimeoutError:
    if saga is None:
        return TimeoutError(f"nothing of saga {saga_id} has been read after {timeout_s:g} s")
    awaited = "; ".join(saga.waiting_for)
    return TimeoutError(f"saga {saga_id} is {saga.state} after {timeout_s:g} s, waiting for {awaited}")


def _cursor(after: str) -> tuple[int, str]:
    number, found, saga_id = after.partition(".")
    if not found or not number.lstrip("-").isdecimal():
        raise ValueError(f"{after!r} is not where a page ended; pass `next` of the page before")
    return int(number), saga_id
