"""Records sent at a given rate, each of which counts once the brokers have acknowledged it.

The rate, waiting for the brokers, and reporting what a refusal or a Ctrl-C leaves unsent live here; what is sent does
not. `parked` sends commands through it, and `dlq` the records that go back.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import NamedTuple

import click

from choreo.cli.command_group import EXIT_PROBLEMS, CommandFailed, error_lines
from choreo.cli.output import counted, note, print_json, progress
from choreo.errors import BrokerUnavailable, BufferFull, ChoreoError, TopicProblem
from choreo.topics import missing_topic
from choreo.transport import Outgoing, Sender, Transport

SILENCE_S_MAX = 60.0
"""Brokers that answer nothing for so long are taken for gone; the client gives every record up before that."""
INTERRUPTED_S_MAX = 5.0
"""How long an answer to a record that was sent before a Ctrl-C is waited for."""
IN_FLIGHT_MAX = 100
BUFFER_PAUSE_S = 0.05
RATE_DEFAULT = 50.0

rate_option = click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    default=RATE_DEFAULT,
    show_default=True,
    help="At most so many a second.",
)


class Answer(NamedTuple):
    """The brokers' answer to one record: its chain, and the error if there is one."""

    chain: int
    error: Exception | None


@dataclass(slots=True)
class Sent:
    """What became of a sending.

    Attributes:
        count: Chains that the brokers have whole.
        unanswered: Chains that were begun and not acknowledged: what became of them is not known.
        error: Why it ended early.
        interrupted: A person ended it early.
    """

    count: int = 0
    unanswered: int = 0
    error: Exception | None = None
    interrupted: bool = False


@dataclass(slots=True, kw_only=True)
class PacedSender:
    """Sends chains of records: the next of a chain follows once the brokers have the one before.

    Attributes:
        rate: Chains begun a second at most.
        on_sent: Called with a chain's number, from 0, when the brokers have all of it.
        now: Seconds that pass.
    """

    sender: Sender = field(kw_only=False)
    rate: float
    on_sent: Callable[[int], object]
    answers: SimpleQueue[Answer] = field(default_factory=SimpleQueue)
    now: Callable[[], float] = time.monotonic
    _open: dict[int, deque[Outgoing]] = field(init=False, default_factory=dict)
    _sent: Sent = field(init=False, default_factory=Sent)

    def run(self, chains: Iterable[Sequence[Outgoing]]) -> Sent:
        """Send all of them, or until something is refused or a person interrupts; never raises for either."""
        sent = self._sent
        due = self.now()
        try:
            try:
                for number, chain in enumerate(chains):
                    self._serve_until(due)
                    while len(self._open) >= IN_FLIGHT_MAX and sent.error is None:
                        self._serve_or_fail()
                    if sent.error is not None:
                        break
                    due = max(due, self.now()) + 1 / self.rate
                    self._open[number] = deque(chain)
                    self._go_on(number)
            except ChoreoError as error:
                # The next chain could not be read; what was sent before arrives all the same.
                sent.error = sent.error or error
            while self._open and self._serve_or_fail():
                pass
        except KeyboardInterrupt:
            sent.interrupted = True
            while self._open and self._serve(INTERRUPTED_S_MAX):
                pass
        sent.unanswered = len(self._open)
        return sent

    def _go_on(self, number: int) -> None:
        """Hand over the next record of a chain, or count the chain as sent."""
        chain = self._open[number]
        if not chain:
            del self._open[number]
            self._sent.count += 1
            self.on_sent(number)
            return
        outgoing = chain.popleft()
        patience = self.now() + SILENCE_S_MAX
        while True:
            try:
                self.sender.enqueue(outgoing, lambda error: self.answers.put(Answer(number, error)))
            except BufferFull as error:
                if self.now() >= patience:
                    self._fail(number, error)
                    return
                # Each answer makes room in the buffer.
                self._serve(BUFFER_PAUSE_S)
            except ChoreoError as error:
                self._fail(number, error)
                return
            else:
                return

    def _fail(self, number: int, error: Exception) -> None:
        self._open.pop(number, None)
        self._sent.error = self._sent.error or error

    def _serve(self, timeout_s: float) -> bool:
        """Take one answer; return whether one came in time."""
        try:
            answer = self.answers.get(timeout=timeout_s)
        except Empty:
            return False
        if answer.error is not None:
            self._fail(answer.chain, answer.error)
        elif answer.chain in self._open:
            self._go_on(answer.chain)
        return True

    def _serve_or_fail(self) -> bool:
        if self._serve(SILENCE_S_MAX):
            return True
        self._sent.error = self._sent.error or BrokerUnavailable(f"the brokers were silent for {SILENCE_S_MAX:g} s")
        return False

    def _serve_until(self, moment: float) -> None:
        """Take what answers come until a moment, and those that have come already."""
        while (left_s := moment - self.now()) > 0:
            self._serve(left_s)
        while not self.answers.empty():
            self._serve(0)


def require(transport: Transport, topics: Sequence[str]) -> None:
    """Check that topics exist, so that a missing one is reported before anything is sent.

    Raises:
        TopicProblem: Naming those that are missing.
        BrokerUnavailable: If no broker answers.
    """
    found = transport.describe(sorted(topics))
    missing = [each for each in sorted(topics) if each not in found]
    if missing:
        fix = "run `choreo topics apply`"
        raise TopicProblem([missing_topic(each, fix) for each in missing])


def send(
    transport: Transport,
    chains: Iterable[tuple[Sequence[Outgoing], object]],
    *,
    total: int,
    thing: str,
    rate: float,
    as_json: bool,
) -> None:
    """Send chains of records, at most `rate` begun a second, and say how many were sent; `thing` is what one is.

    With each comes what is printed of it in JSON when the brokers have all of it, and no progress runs into that.

    Raises:
        CommandFailed: If one was refused.
        Exit: With exit code 1, if a person interrupted it.
    """
    unsent: dict[int, object] = {}

    def records() -> Iterator[Sequence[Outgoing]]:
        for number, (chain, item) in enumerate(chains):
            unsent[number] = item
            yield chain

    def on_sent(number: int) -> None:
        advance(1)
        item = unsent.pop(number)
        if as_json:
            print_json(item)

    with closing(transport.sender()) as sender, progress("sending", total, hidden=as_json) as advance:
        sent = PacedSender(sender, rate=rate, on_sent=on_sent).run(records())
    conclude(sent, total, thing)


def conclude(sent: Sent, total: int, thing: str) -> None:
    """Report how many of all chains were sent; `thing` is what one of them is.

    Raises:
        CommandFailed: If it was refused.
        Exit: With exit code 1, if a person interrupted it.
    """
    unknown = f", and of {sent.unanswered:,} it is not known" if sent.unanswered else ""
    outcome = f"{sent.count:,} of {counted(total, thing)} were sent{unknown}. It is safe to run the same command again."
    if sent.error is not None:
        lines = error_lines(sent.error) if isinstance(sent.error, ChoreoError) else [str(sent.error)]
        raise CommandFailed([*lines, outcome])
    if sent.interrupted:
        note(f"Interrupted: {outcome}")
        raise click.exceptions.Exit(EXIT_PROBLEMS)
    note(f"{counted(sent.count, thing)} sent.")
