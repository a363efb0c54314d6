"""Ten choreographies end as they should: in every order, with duplicates and crashes. And broken, they are found out."""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from itertools import cycle, islice

import pytest

from choreo import SagaState, Service, Settings, check
from choreo.checks import CODES as LINT_CODES
from choreo.checks import check_manifests
from choreo.service import CODES as SERVICE_CODES
from choreo.service import Declaration, declarations
from choreo.testing import Scenario
from choreo.testing.saga_handle import SagaHandle
from choreo.tracker import Flag
from choreo.transport import Outgoing
from tests.choreographies import CHOREOGRAPHIES
from tests.choreographies.ledger import Ledger
from tests.choreographies.mutants import MUTANTS, ORIGINALS, Mutant
from tests.choreographies.piece import Piece
from tests.choreographies.purchase import LetterSent, ManagerApproved, ManagerReminded
from tests.choreographies.trial import ClosingOverdue, SupportCalled, TrialStopped, access

Ledgers = dict[str, Ledger]
Drive = Callable[[Scenario], None]
CODES = SERVICE_CODES.keys() | LINT_CODES.keys()
RECORDS_BETWEEN = 7
ROUNDS = 30


class Dying(Ledger):
    """Does each effect and then fails, the first time: as a process that dies between an effect and its commit."""

    def __init__(self) -> None:
        super().__init__()
        self._met: set[str] = set()

    def take(self, key: str, whose: str, amount: int = 1) -> bool:
        taken = super().take(key, whose, amount)
        self._die(key)
        return taken

    def give_back(self, key: str) -> None:
        super().give_back(key)
        self._die(f"back {key}")

    def _die(self, key: str) -> None:
        if key not in self._met:
            self._met.add(key)
            raise ConnectionError("gone, and nobody knows what was done")


@cache
def declared(services: tuple[Service, ...]) -> list[Declaration]:
    return declarations(*services)


def ledgers(s: Scenario, piece: Piece, kind: type[Ledger] = Ledger) -> Ledgers:
    """Have every service keep its effects where they can be seen, and survive it."""
    kept = {each.name: kind() for each in declared(piece.services) if each.provider(Ledger) is not None}
    for service in piece.services:
        if service.name in kept:
            s.replace(service, Ledger, kept[service.name])
    return kept


def begin(s: Scenario, piece: Piece, *, answered: bool = True) -> dict[str, SagaHandle]:
    """Start a saga for every way, and answer as people do on it."""
    sagas = {}
    for name in piece.ways:
        sagas[name] = s.publish(piece.start(name, key=name))
        if answered:
            answer(s, piece, sagas, name)
    return sagas


def answer(s: Scenario, piece: Piece, sagas: dict[str, SagaHandle], name: str) -> None:
    for event in piece.ways[name].outside:
        s.publish(event, saga_id=sagas[name].saga_id)


def play(piece: Piece, drive: Drive | None = None, kind: type[Ledger] = Ledger, **scenario: object) -> None:
    """Play every way at once, and judge what has come of each."""
    with Scenario(*piece.services, park=True, **scenario) as s:
        kept = ledgers(s, piece, kind)
        sagas = begin(s, piece)
        if drive is not None:
            drive(s)
        s.settle()
        for name, saga in sagas.items():
            assert_as_it_should(piece, name, saga, kept)


def assert_as_it_should(piece: Piece, name: str, saga: SagaHandle, kept: Ledgers) -> None:
    way, view = piece.ways[name], saga.view
    assert (view.state, view.flags, view.violations) == (way.state, frozenset(), []), name
    assert {service: held for service, ledger in kept.items() if (held := ledger.held(name))} == way.holds, name
    assert_all_or_nothing(piece, saga)


def assert_all_or_nothing(piece: Piece, saga: SagaHandle) -> None:
    """Assert that a saga has ended once, with all that it did or with none of it (I1, I3)."""
    handlers = [handler for each in declared(piece.services) for handler in each.handlers]
    originals = {kind for handler in handlers for kind in handler.original}
    [owned] = [each for one in declared(piece.services) for each in one.sagas]
    emitted = Counter(saga.emitted)
    undoings = Counter(each.compensates_id for each in saga.events if each.compensates_id)
    ended = SagaState.COMPLETED if sum(emitted[kind] for kind in owned.completes) else SagaState.FAILED
    assert sum(emitted[kind] for kind in (*owned.completes, *owned.fails)) == 1
    assert saga.state is ended
    assert set(undoings.values()) <= {1}
    undone = {each.event_id for each in saga.events if type(each.event) in originals} & undoings.keys()
    done = {each.event_id for each in saga.events if type(each.event) in originals}
    assert undone == (set() if ended is SagaState.COMPLETED else done)


every_piece = pytest.mark.parametrize("piece", CHOREOGRAPHIES.values(), ids=CHOREOGRAPHIES)


@every_piece
def test_of_a_sound_choreography_nothing_is_said(piece: Piece):
    assert check(*piece.services) == []


@every_piece
def test_every_way_says_what_it_must_and_nothing_else(piece: Piece):
    with Scenario(*piece.services, park=True) as s:
        sagas = begin(s, piece)
        s.settle()
        said = {name: " ".join(kind.__name__ for kind in saga.emitted[1:]) for name, saga in sagas.items()}
        assert said == {name: way.says for name, way in piece.ways.items()}


@pytest.mark.parametrize("name", CHOREOGRAPHIES)
def test_the_ways_are_all_the_ways_there_are(name: str):
    """What a late undoing brings up stands alone: its way is the one on which nobody undoes anything for a day."""
    piece = CHOREOGRAPHIES[name]
    said = {word for way in piece.ways.values() for word in way.says.split()}
    emitted = {kind.__name__ for each in declared(piece.services) for kind in each.emits}
    outside = {kind.__name__ for each in declared(piece.services) for kind in each.publishes}
    assert (emitted | outside) - said == ({"ClosingOverdue", "SupportCalled"} if name == "trial" else set())


@every_piece
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
def test_in_any_order_all_is_done_or_undone(piece: Piece, seed: int, delivery: str):
    play(piece, seed=seed, settings=Settings.model_construct(delivery=delivery))


@every_piece
@pytest.mark.parametrize("seed", [None, 2])
def test_services_that_die_in_between_change_nothing(piece: Piece, seed: int | None):
    def die_in_turn(s: Scenario) -> None:
        for service in islice(cycle(piece.services), ROUNDS):
            for _ in range(RECORDS_BETWEEN):
                s.step()
            s.restart(service)

    play(piece, die_in_turn, seed=seed)


@every_piece
@pytest.mark.parametrize("seed", [None, 3])
def test_an_effect_without_its_commit_is_repeated_or_undone(piece: Piece, seed: int | None):
    play(piece, kind=Dying, seed=seed)


@every_piece
def test_what_comes_twice_counts_once(piece: Piece):
    topics = sorted({kind.__choreo_topic__ for each in declared(piece.services) for kind in each.event_types})

    def say_it_again(s: Scenario) -> None:
        for _ in range(ROUNDS // 10):
            for _ in range(3 * RECORDS_BETWEEN):
                s.step()
            said = s.broker.records(*topics)[-RECORDS_BETWEEN:]
            s.broker.write([Outgoing(each.topic, each.key, each.value, each.headers, each.partition) for each in said])

    play(piece, say_it_again, seed=4)


@every_piece
def test_a_service_that_is_far_behind_changes_nothing(piece: Piece):
    """Whatever fell due meanwhile has fallen due, so that where people answer only the invariants can be asked for."""
    behind = piece.services[1]
    with Scenario(*piece.services, park=True) as s:
        kept = ledgers(s, piece)
        for topic in {kind.__choreo_topic__ for kind in declared((behind,))[0].consumes}:
            s.hold(topic, service=behind)
        sagas = begin(s, piece)
        s.settle()
        s.release()
        s.settle()
        for name, saga in sagas.items():
            assert_all_or_nothing(piece, saga)
            if not piece.outside:
                assert_as_it_should(piece, name, saga, kept)


answered = pytest.mark.parametrize("name", [name for name, piece in CHOREOGRAPHIES.items() if piece.outside])


@answered
def test_an_answer_that_comes_too_late_changes_nothing(name: str):
    piece = CHOREOGRAPHIES[name]
    with Scenario(*piece.services) as s:
        kept = ledgers(s, piece)
        sagas = begin(s, piece, answered=False)
        s.settle()
        for way in piece.ways:
            answer(s, piece, sagas, way)
        s.settle()
        for saga in sagas.values():
            assert saga.state is SagaState.FAILED
            assert_all_or_nothing(piece, saga)
        assert [ledger.held(way) for ledger in kept.values() for way in piece.ways if ledger.held(way)] == []


@answered
def test_of_an_answer_and_a_deadline_the_first_decides(name: str):
    """The deadline fires while the answer is on its way."""
    piece = CHOREOGRAPHIES[name]
    with Scenario(*piece.services) as s:
        kept = ledgers(s, piece)
        for topic in {type(event).__choreo_topic__ for event in piece.outside}:
            s.hold(topic, service=piece.services[0])
        sagas = begin(s, piece)
        s.settle()
        s.release()
        s.settle()
        for saga in sagas.values():
            assert saga.state is SagaState.FAILED
            assert_all_or_nothing(piece, saga)
        assert [ledger.held(way) for ledger in kept.values() for way in piece.ways if ledger.held(way)] == []


def test_a_manager_who_has_answered_is_not_reminded():
    piece = CHOREOGRAPHIES["purchase"]
    with Scenario(*piece.services) as s:
        early, late = (s.publish(piece.start("no answer", key=key)) for key in ("early", "late"))
        s.advance(timedelta(hours=12))
        s.publish(ManagerApproved(), saga_id=early.saga_id)
        s.advance(timedelta(days=2))
        s.publish(ManagerApproved(), saga_id=late.saga_id)
        s.settle()
        assert ManagerReminded not in early.emitted
        assert LetterSent in late.emitted
        assert early.state is late.state is SagaState.COMPLETED


def test_a_deadline_that_outlives_the_failure_calls_somebody():
    piece = CHOREOGRAPHIES["trial"]
    with Scenario(*piece.services) as s:
        saga = s.publish(piece.start("stopped"))
        s.advance(timedelta(0))
        s.hold("trials", service=access)
        s.publish(TrialStopped(), saga_id=saga.saga_id)
        s.advance(timedelta(days=2))
        assert (saga.state, saga.emitted[-2:]) == (SagaState.COMPENSATING, [ClosingOverdue, SupportCalled])
        s.release()
        s.settle()
        assert saga.state is SagaState.FAILED
        assert_all_or_nothing(piece, saga)


def test_a_guarantee_whose_retries_are_spent_waits_for_a_person_for_two_days():
    piece = CHOREOGRAPHIES["hotel"]
    with Scenario(*piece.services, park=True) as s:
        kept = ledgers(s, piece)
        saga = s.publish(piece.start("nobody knows of the card"))
        s.advance(timedelta(days=1))
        assert (saga.state, saga.flags) == (SagaState.PENDING, {Flag.PARKED})
        assert kept["cards"].held("1") == 1
        s.settle()
        assert (saga.state, saga.flags) == (SagaState.FAILED, set())
        assert kept["cards"].held("1") == 0


def told(mutant: Mutant) -> set[str]:
    """Return the codes of what `check` says of a mutant and not of what it was made of."""
    made = mutant.made()
    found = check_manifests(made) if isinstance(made, list) else check(*made)
    return {problem.code for problem in set(found) - set(check(*ORIGINALS[mutant.of]))}


CHECKED = {name: each for name, each in MUTANTS.items() if each.tool == "check" and each.finding in CODES}
UNCHECKED = {name: each for name, each in MUTANTS.items() if each.tool != "check"}


@pytest.mark.parametrize("mutant", CHECKED.values(), ids=CHECKED)
def test_check_finds_what_the_graph_shows_to_be_broken(mutant: Mutant):
    assert mutant.finding in told(mutant)


@pytest.mark.parametrize("mutant", UNCHECKED.values(), ids=UNCHECKED)
def test_check_says_nothing_where_the_graph_shows_nothing(mutant: Mutant):
    """Then this is for the model checker or a simulation to find, and the table says for which."""
    assert told(mutant) == set()


def test_choreographies_are_broken_in_many_ways():
    assert len(MUTANTS) >= 60
    assert {each.of for each in MUTANTS.values()} == ORIGINALS.keys()
    assert {each.finding for each in UNCHECKED.values()} <= {"I1", "I2", "I3", "I4", "I5", "I6"}
