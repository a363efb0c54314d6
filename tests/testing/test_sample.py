"""An event to try things with: valid, and about nothing."""

from decimal import Decimal

import pytest
from pydantic import ValidationError

from choreo.cli.target import load
from choreo.event import Event
from choreo.schema import avro_schema
from choreo.service import declarations
from choreo.testing.sample import sample
from services.events import OrderPlaced
from tests.checks.graphs import GRAPHS

KINDS = sorted(
    {kind for targets in GRAPHS.values() for each in declarations(*load(targets)) for kind in each.event_types},
    key=lambda kind: kind.__choreo_type__,
)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_event_of_the_examples_can_be_made_up(kind: type[Event]):
    made = sample(kind)

    assert isinstance(made, kind)
    assert kind.model_validate(made.model_dump()) == made


def test_what_is_given_stays():
    assert sample(OrderPlaced, total=Decimal("7.50")).total == Decimal("7.50")


class Tree(Event, topic="trees"):
    label: str
    branches: list["Tree"]


def test_a_list_of_itself_ends():
    assert sample(Tree) == Tree(label="x", branches=[])
    assert avro_schema(Tree, "trees.Tree")["name"] == "Tree"


class Long(Event, topic="longs"):
    name: str

    def model_post_init(self, _context: object) -> None:
        if len(self.name) < 10:
            raise ValueError("too short")


def test_what_a_constraint_forbids_is_to_be_given():
    with pytest.raises(ValidationError, match="too short"):
        sample(Long)
    assert sample(Long, name="long enough").name == "long enough"
