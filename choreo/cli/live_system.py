"""The system that runs: what its services announced, and what a deploy would do to it.

Reading the manifests off the brokers, and the options of `choreo check --against`, live here; what is then wrong is
decided by `deploy` and `checks`. Brokers say what runs, and a tracker's store which sagas are live.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from itertools import chain, islice

import click

from choreo.checks import WARNINGS, check_manifests
from choreo.cli.brokers import Brokers, broker_options, connect, read_settings
from choreo.cli.command_group import CommandFailed, bundle
from choreo.cli.output import note, progress
from choreo.cli.tracker_store import announced, each_saga, open_tracker
from choreo.deploy import CODES, stranding
from choreo.errors import Problem, SchemaError
from choreo.manifest import Manifest
from choreo.reading import read_to_end
from choreo.records import MANIFESTS
from choreo.saga import SagaState
from choreo.service import Service, declarations, mistakes
from choreo.tracker import SagaView, Tracker

LIVE_SAGAS_MAX = 20_000
"""Most live sagas that are looked at, the newest of each state first."""


@dataclass(frozen=True, slots=True)
class LiveSystem:
    """The system that runs: where services have announced themselves, and the tracker's store.

    The store is the one in the settings where it is None, and there is none where they name none.
    """

    brokers: Brokers
    store: str | None

    def check(self, *services: Service, beside: Sequence[Manifest] = ()) -> tuple[list[Problem], frozenset[str]]:
        """Return what is wrong with services, and others that are deployed beside them, among those that run.

        Returns:
            The problems, what a deploy strands among them, and the codes of those that are only warnings: as long as no
            tracker says whether anything is stranded, that is one of them.

        Raises:
            CommandFailed: If the store is not there, or is of another system.
            BrokerUnavailable: If no broker answers.
        """
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
        return sorted([*stranded, *check_manifests([*others, *new])], key=lambda each: each.code in warnings), warnings

    def _tracker(self, running: Sequence[Manifest]) -> Tracker | None:
        """Open the tracker's store, if one is named: one that happens to lie here may be of another system.

        Raises:
            CommandFailed: If it has not read what these services announced.
        """
        if self.store is None and "store" not in read_settings().model_fields_set:
            return None
        known = {each.key for each in announced(self.store)}
        for each in running:
            if each.key not in known:
                why = "it follows other brokers, or has not come that far"
                raise CommandFailed([f"The tracker has not read what {each.key} announced: {why}."])
        return open_tracker(self.store)


def _live(tracker: Tracker) -> Iterator[SagaView]:
    """Yield the sagas that are not at rest, at most `LIVE_SAGAS_MAX` of them."""
    if behind := tracker.lag().records:
        note(f"The tracker is {behind:,} records behind: more live sagas may need what is gone.")
    states = [SagaState.COMPENSATING, SagaState.PENDING, SagaState.STARTED]
    total = sum(counts[state] for counts in tracker.counts().values() for state in states)
    left = min(total, LIVE_SAGAS_MAX)
    if left < total:
        note(f"Of {total:,} live sagas {left:,} are looked at: there may be more problems than are listed.")
    with progress("looking", left) as advance:
        for saga in islice(chain.from_iterable(each_saga(tracker, state=state) for state in states), left):
            yield saga
            advance(1)


def running_manifests(brokers: Brokers) -> list[Manifest]:
    """Return every manifest on the brokers, those that were announced last behind all others; nothing on new brokers.

    Raises:
        BrokerUnavailable: If none answers, or not to the end.
    """
    manifests: dict[bytes | None, Manifest] = {}
    with closing(connect(brokers.settings())) as transport, closing(transport.reader([MANIFESTS])) as reader:
        for record in read_to_end(reader):
            manifests.pop(record.key, None)
            if record.value is None:
                continue
            try:
                manifests[record.key] = Manifest.from_bytes(record.value)
            except SchemaError as error:
                note(f"a manifest cannot be read and is passed over: {error}")
    if not manifests:
        note("No service has announced itself on these brokers: there is nothing to compare with.")
    return list(manifests.values())


def newest(manifests: list[Manifest]) -> dict[str, Manifest]:
    """Return for each service what it announced last, which is what runs."""
    return {each.service: each for each in manifests}


def _live_system(brokers: Brokers, store: str | None, *, live: bool) -> LiveSystem | None:
    if not live and (store is not None or brokers.arguments()):
        raise click.UsageError("--store and the flags of brokers say what to check against: add --against.")
    return LiveSystem(brokers, store) if live else None


against_options = bundle(
    "against",
    _live_system,
    click.option(
        "--against",
        "live",
        is_flag=True,
        help="Check among the services that run, too, and tell which live sagas a deploy would strand.",
    ),
    broker_options,
    click.option(
        "--store",
        metavar="URL",
        help="The tracker's store, which says which sagas are live; the one in the settings unless given.",
    ),
)
"""Gives a command `--against` and the flags that say what; it gets them as `against`, None where it is not given."""
