"""Choreographies that are broken, and what `check` says nothing of: the model checker or a simulation finds them."""

import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from operator import itemgetter
from pathlib import Path
from random import Random

import pytest

from choreo import Service
from choreo.service import declarations
from choreo.testing import Simulation
from choreo.verify import Bounds, verify
from tests.choreographies import CHOREOGRAPHIES
from tests.choreographies.ledger import Ledger
from tests.choreographies.mutants import MUTANTS
from tests.choreographies.piece import Piece

TABLE = Path("docs/explanation/mutants.md")
SEEDS = range(20)
DAYS = 40
SECOND_THOUGHTS = 48
"""Hours."""
CALM: Mapping[str, float] = {"crash": 0.05, "abort": 0.05, "lose": 0.05, "fail": 0, "duplicate": 0.3, "delay": 0.05}
ROUGH = {**CALM, "fail": 0.15}
MODES = (
    {"late": False, "park": False},
    {"late": False, "park": True},
    {"late": True, "park": True},
    {"late": True, "park": False, "torn": True},
)
VERIFIED = [name for name, each in MUTANTS.items() if each.tool == "verify"]
SIMULATED = [name for name, each in MUTANTS.items() if each.tool == "simulation" and each.of in CHOREOGRAPHIES]


def simulate(
    piece: Piece, services: tuple[Service, ...], seed: int, *, late: bool, park: bool, torn: bool = False
) -> None:
    """Run every way of a choreography at once under faults; raise what is not as it must be.

    Args:
        piece: The choreography as it should be.
        services: What runs.
        seed: What all follows from.
        late: People answer within `DAYS`, not at once.
        park: Steps fail, too, and stay parked.
        torn: People who have answered give every other answer as well, within `SECOND_THOUGHTS`.
    """
    rates = ROUGH if park else CALM
    with Simulation(*services, seed=seed, park=park, **rates) as s:  # type: ignore[arg-type]
        kept = {each.name: Ledger() for each in declarations(*services) if each.provider(Ledger) is not None}
        for service in services:
            if service.name in kept:
                s.replace(service, Ledger, kept[service.name])
        sagas = {name: s.publish(piece.start(name, key=name)) for name in piece.ways}
        hours = Random(seed)
        answers = [
            (hours.randrange(DAYS * 24) * late, number, name, event)
            for name, way in piece.ways.items()
            for number, event in enumerate(way.outside)
        ]
        if torn:
            others = list(dict.fromkeys(event for way in piece.ways.values() for event in way.outside))
            answers += [
                (hour + hours.randrange(SECOND_THOUGHTS), number, name, event)
                for hour, _, name, given in list(answers)
                for number, event in enumerate(others)
                if event != given
            ]
        now = 0
        for hour, _, name, event in sorted(answers, key=itemgetter(0, 1, 2)):
            s.advance(timedelta(hours=hour - now))
            now = hour
            s.publish(event, saga_id=sagas[name].saga_id)
        s.check()
        for name, saga in sagas.items():
            way = piece.ways[name]
            held = {service: count for service, ledger in kept.items() if (count := ledger.held(name))}
            assert saga.state is not way.state or held == way.holds, f"{name} holds {held}, and should hold {way.holds}"


def found(run: Callable[[], None]) -> bool:
    """Return whether a run says that something is wrong: an invariant, effects that do not add up, a step parked."""
    logging.disable(logging.CRITICAL)
    try:
        run()
    except Exception:
        return True
    finally:
        logging.disable(logging.NOTSET)
    return False


@pytest.mark.parametrize("name", VERIFIED)
def test_the_model_checker_finds(name: str):
    mutant, bounds = MUTANTS[name], Bounds(duplicates=0, crashes=0)

    [proof] = verify(*mutant.made(), bounds=bounds)

    assert proof.breach is not None
    assert proof.breach.invariant == mutant.finding
    assert verify(*CHOREOGRAPHIES[mutant.of].services, bounds=Bounds(0, 0, 0))[0].breach is None


def test_a_crash_behind_spent_retries_leaves_the_step_free_to_succeed():
    """What an `otherwise` said is no answer of the step's: held to it, the step could never be read again."""
    mutant = MUTANTS["a pledge that nobody knows of is said to be missing"]

    [proof] = verify(*mutant.made(), bounds=Bounds(duplicates=0, crashes=1, failures=1, states_max=20_000))

    assert proof.breach is not None
    assert proof.breach.invariant == mutant.finding


@pytest.mark.parametrize("name", SIMULATED)
def test_a_simulation_finds(name: str):
    mutant = MUTANTS[name]
    piece, broken = CHOREOGRAPHIES[mutant.of], mutant.made()

    for seed in SEEDS:
        for mode in MODES:
            # What is right may park as well, and is then looked at with steps left parked alone.
            of_it, of_what_is_right = (
                found(partial(simulate, piece, services, seed, **mode)) for services in (broken, piece.services)
            )
            if of_it and not of_what_is_right:
                return
    pytest.fail(f"no seed of {len(SEEDS)} shows it")


def test_the_table_says_who_finds_what():
    rows = [
        f"| {name} | {each.of} | {each.tool} | {each.finding} |"
        for name, each in sorted(MUTANTS.items(), key=lambda item: (item[1].of, item[0]))
    ]
    assert TABLE.read_text(encoding="utf-8").splitlines()[-len(rows) :] == rows
