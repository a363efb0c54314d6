"""What a deploy would do to the system that runs: `choreo check --against`.

The options that say which system, and asking it, live here; what is then wrong is decided by `deploy` and `lints`.
Brokers say what runs, and a tracker's store which sagas are live.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from choreo.cli.bar import Bar
from choreo.cli.brokers import Brokers, broker_options, read_settings
from choreo.cli.group import Told
from choreo.cli.output import note
from choreo.cli.running import newest, running_manifests
from choreo.cli.store import announced, open_tracker

if TYPE_CHECKING:
    from choreo.errors import Problem
    from choreo.manifest import Manifest
    from choreo.service import Service
    from choreo.tracker import SagaView, Tracker

F = TypeVar("F", bound=Callable[..., Any])
PAGE_SAGAS = 500
LIVE_SAGAS_MAX = 20_000
"""Most live sagas that are looked at, the newest of each state first."""


@dataclass(frozen=True, slots=True)
class Against:
    """The system that runs, as the command line names it.

    Attributes:
        brokers: Where services have announced themselves.
        store: The tracker's store; the one in the settings where it is None, and none where they name none.
    """

    brokers: Brokers
    store: str | None

    def check(self, *services: "Service", beside: "Sequence[Manifest]" = ()) -> "tuple[list[Problem], frozenset[str]]":
        """Return what is wrong with services among those that run, and what a deploy of them strands.

        Args:
            services: What is to be deployed.
            beside: What others announce that are to be deployed with them.

        Returns:
            The problems, and the codes of those that are only warnings: what is stranded is one of them as long as no
            tracker says whether anything is.

        Raises:
            Told: If the store is not there, or is of another system.
            BrokerUnavailable: If no broker answers.
        """
        from choreo.deploy import CODES, stranding
        from choreo.lints import WARNINGS, lints
        from choreo.manifest import Manifest
        from choreo.service import declarations, mistakes

        if wrong := mistakes(*services):
            return wrong, WARNINGS
        code = [Manifest.of(each) for each in declarations(*services)]
        new = list(newest([*beside, *code]).values())
        running = running_manifests(self.brokers)
        deployed = {each.service for each in new}
        others = [each for service, each in newest(running).items() if service not in deployed]
        tracker = self._tracker([each for each in newest(running).values() if each.service in deployed])
        with nullcontext() if tracker is None else closing(tracker):
            stranded = stranding(running, new, None if tracker is None else _live(tracker))
        if stranded and tracker is None:
            note("No tracker's store is named, so which live sagas need what is gone is not known: say --store URL.")
        warnings = WARNINGS if tracker is not None else WARNINGS | CODES
        return sorted([*stranded, *lints([*others, *new])], key=lambda each: each.code in warnings), warnings

    def _tracker(self, running: "Sequence[Manifest]") -> "Tracker | None":
        """Open the tracker's store, if one is named: one that happens to lie here may be of another system.

        Raises:
            Told: If it has not read what these services announced.
        """
        if self.store is None and "store" not in read_settings().model_fields_set:
            return None
        known = {each.key for each in announced(self.store)}
        for each in running:
            if each.key not in known:
                why = "it follows other brokers, or has not come that far"
                raise Told([f"The tracker has not read what {each.key} announced: {why}."])
        return open_tracker(self.store)


def _live(tracker: "Tracker") -> "Iterator[SagaView]":
    """Yield the sagas that are not at rest, at most `LIVE_SAGAS_MAX` of them."""
    from choreo.saga import SagaState

    if behind := tracker.lag().records:
        note(f"The tracker is {behind:,} records behind: more live sagas may need what is gone.")
    states = [SagaState.COMPENSATING, SagaState.PENDING, SagaState.STARTED]
    total = sum(counts[state] for counts in tracker.counts().values() for state in states)
    left = min(total, LIVE_SAGAS_MAX)
    if left < total:
        note(f"Of {total:,} live sagas {left:,} are looked at: there may be more than is told.")
    with Bar("looking", left) as bar:
        for state in states:
            after: str | None = None
            while left > 0:
                page = tracker.sagas(state=state, limit=min(PAGE_SAGAS, left), after=after)
                yield from page.items
                bar.advance(len(page.items))
                left -= len(page.items)
                after = page.next
                if after is None:
                    break


def against_options(command: F) -> F:
    """Give a command `--against` and the flags that say what; it gets them as `against`, None where it is not given."""

    @wraps(command)
    def with_against(*args: Any, live: bool, brokers: Brokers, store: str | None, **kwargs: Any) -> Any:
        if not live and (store is not None or brokers.arguments()):
            raise click.UsageError("--store and the flags of brokers say what to check against: add --against.")
        return command(*args, against=Against(brokers, store) if live else None, **kwargs)

    tracked = "The tracker's store, which says which sagas are live; the one in the settings unless given."
    decorated: Any = broker_options(click.option("--store", metavar="URL", help=tracked)(with_against))
    text = "Check among the services that run, too, and tell which live sagas a deploy would strand."
    result: F = click.option("--against", "live", is_flag=True, help=text)(decorated)
    return result
