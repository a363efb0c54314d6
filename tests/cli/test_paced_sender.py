import io
from collections.abc import Callable, Iterator, Sequence
from queue import Empty, SimpleQueue

import click
import pytest
from rich.console import Console

from choreo.cli.command_group import CommandFailed
from choreo.cli.output import progress
from choreo.cli.paced_sender import IN_FLIGHT_MAX, Answer, PacedSender, Sent, conclude
from choreo.errors import BrokerUnavailable, BufferFull
from choreo.transport import Outgoing

Done = Callable[[Exception | None], None]


class Clock(SimpleQueue):  # type: ignore[type-arg]
    """Answers that never make anybody wait: where there is none, the time passes."""

    def __init__(self) -> None:
        self.at = 0.0

    def now(self) -> float:
        return self.at

    def get(self, block: bool = True, timeout: float | None = None) -> Answer:
        if self.empty():
            self.at += timeout or 0
            raise Empty
        return super().get()  # type: ignore[no-any-return]


class Post:
    """A sender that answers at once, or when told to."""

    def __init__(self, clock: Clock, answer: Callable[[str], Exception | None] | None = lambda _: None) -> None:
        self._clock = clock
        self._answer = answer
        self.sent: list[tuple[str, float]] = []
        self.full = 0

    def enqueue(self, outgoing: Outgoing, done: Done) -> None:
        if self.full:
            self.full -= 1
            raise BufferFull("full")
        self.sent.append((outgoing.topic, self._clock.at))
        if self._answer is not None:
            done(self._answer(outgoing.topic))

    def flush(self, timeout_s: float) -> int:
        return 0

    def close(self) -> None:
        pass

    @property
    def topics(self) -> list[str]:
        return [topic for topic, _ in self.sent]


def chain(*topics: str) -> list[Outgoing]:
    return [Outgoing(topic, None, None, []) for topic in topics]


def run(
    post: Post, clock: Clock, chains: Sequence[list[Outgoing]] | Iterator[list[Outgoing]], rate: float = 10
) -> Sent:
    told: list[int] = []
    sent = PacedSender(post, rate=rate, on_sent=told.append, answers=clock, now=clock.now).run(chains)
    assert len(told) == sent.count
    return sent


def test_no_more_are_sent_a_second_than_asked_for():
    clock = Clock()
    post = Post(clock)
    assert run(post, clock, [chain("a")] * 25) == Sent(25)
    assert [at for _, at in post.sent] == pytest.approx([number / 10 for number in range(25)])


def test_the_next_of_a_chain_follows_once_the_brokers_have_the_one_before():
    clock = Clock()
    post = Post(clock, lambda topic: BrokerUnavailable("gone") if topic == "bad" else None)
    sent = run(post, clock, [chain("a", "note-a"), chain("bad", "note-bad"), chain("c")])
    assert post.topics == ["a", "note-a", "bad"]
    assert (sent.count, str(sent.error)) == (1, "gone")


def test_an_interruption_leaves_what_is_on_its_way_to_arrive():
    clock = Clock()
    post = Post(clock)

    def chains() -> Iterator[list[Outgoing]]:
        yield chain("a", "note-a")
        yield chain("b", "note-b")
        raise KeyboardInterrupt

    sent = run(post, clock, chains())
    assert sent == Sent(2, interrupted=True)
    assert post.topics == ["a", "note-a", "b", "note-b"]


def test_brokers_that_are_silent_are_given_up():
    clock = Clock()
    sent = run(Post(clock, None), clock, [chain("a"), chain("b")])
    assert (sent.count, sent.unanswered) == (0, 2)
    assert "silent for 60 s" in str(sent.error)


def test_only_so_many_are_on_their_way_at_once():
    clock = Clock()
    post = Post(clock, None)
    run(post, clock, [chain("a")] * (IN_FLIGHT_MAX + 5), rate=1e9)
    assert len(post.sent) == IN_FLIGHT_MAX


def test_a_full_buffer_is_waited_for_and_given_up_in_the_end():
    clock = Clock()
    post = Post(clock)
    post.full = 3
    assert run(post, clock, [chain("a")]) == Sent(1)
    post.full = 10**6
    assert isinstance(run(post, clock, [chain("a")]).error, BufferFull)


def test_what_cannot_be_read_any_more_ends_it():
    clock = Clock()

    def chains() -> Iterator[list[Outgoing]]:
        yield chain("a")
        raise BrokerUnavailable("no more to read")

    sent = run(Post(clock), clock, chains())
    assert (sent.count, str(sent.error)) == (1, "no more to read")


def test_what_became_of_it_is_said(capsys: pytest.CaptureFixture[str]):
    conclude(Sent(1), 1, "command")
    conclude(Sent(1200), 1200, "command")
    with pytest.raises(click.exceptions.Exit) as left:
        conclude(Sent(3, unanswered=1, interrupted=True), 12, "command")
    assert left.value.exit_code == 1
    with pytest.raises(CommandFailed) as caught:
        conclude(Sent(3, error=BrokerUnavailable("gone")), 12, "command")
    assert caught.value.message == "gone\n3 of 12 commands were sent. It is safe to run the same command again."
    assert capsys.readouterr().err.splitlines() == [
        "1 command sent.",
        "1,200 commands sent.",
        "Interrupted: 3 of 12 commands were sent, and of 1 it is not known. It is safe to run the same command again.",
    ]


@pytest.mark.parametrize(("terminal", "seconds", "shown"), [(True, 0.5, False), (True, 1.5, True), (False, 1.5, False)])
def test_progress_is_for_long_work_on_a_terminal(
    terminal: bool, seconds: float, shown: bool, monkeypatch: pytest.MonkeyPatch
):
    out = io.StringIO()
    clock = Clock()
    monkeypatch.setattr("choreo.cli.output.time.monotonic", clock.now)
    with progress("sending", 3, on=Console(file=out, force_terminal=terminal, width=80)) as advance:
        advance(1)
        clock.at = seconds
        advance(1)
        advance(1)
    assert ("sending" in out.getvalue() and "3/3" in out.getvalue()) is shown
    assert out.getvalue() == "" or shown
