import math
import uuid
from datetime import UTC, datetime, time, timedelta, timezone
from decimal import Decimal
from hashlib import blake2b
from typing import Annotated

import pytest
from pydantic import BaseModel, Field, ValidationError

from choreo.errors import SchemaError
from choreo.event import Envelope, Event, Failure, emitted_id, saga_id_for, start_event_id, uuid7
from choreo.schema import Sensitive

GOLDEN_EMITTED = "7d26298c-af44-8baf-8bba-6218103f0297"
GOLDEN_SAGA = "31151dea-220a-5658-b4db-287d3df67f39"
GOLDEN_START = "a661e50c-da81-51a1-a071-67484c33372d"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Line(BaseModel):
    sku: str = "a"
    quantity: int = 1
    weight: float = 1.0
    at: datetime = NOW


class Placed(Event, topic="web-orders"):
    order_id: str = "1"
    quantity: int = 1
    weight: float = 1.0
    total: Annotated[Decimal, Field(max_digits=6, decimal_places=2)] = Decimal("1.00")
    at: datetime = NOW
    opens: time = time(9)
    lines: list[Line] = []  # noqa: RUF012
    by_name: dict[str, Line] = {}  # noqa: RUF012
    either: Line | str = "x"


class Tree(Event, topic="trees"):
    weight: float = 0.0
    children: "list[Tree]" = []  # noqa: RUF012


class Later(Event, topic="later"):
    inner: "DefinedLater"


class DefinedLater(BaseModel):
    weight: float


class TestClasses:
    def test_the_type_is_topic_and_class(self):
        assert Placed.__choreo_type__ == "web_orders.Placed"
        assert Placed.__choreo_topic__ == "web-orders"

    def test_subclasses_inherit_the_topic_and_not_the_name(self):
        class Renamed(Event, topic="orders", name="shop.orders.Old"):
            a: str

        class Child(Renamed):
            pass

        assert Renamed.__choreo_type__ == "shop.orders.Old"
        assert (Child.__choreo_type__, Child.__choreo_topic__) == ("orders.Child", "orders")

    def test_a_class_without_topic_is_abstract(self):
        class Base(Event):
            anything: object

        assert Base.__choreo_type__ == ""

    def test_a_failure_has_a_reason(self):
        class Declined(Failure, topic="payments"):
            pass

        assert Declined(reason="no funds").reason == "no funds"
        with pytest.raises(ValidationError):
            Declined()

    @pytest.mark.parametrize(
        "topic", ["", "Orders", "or ders", ".orders", "-orders", "orders/x", "o" * 250, "orders_x"]
    )
    def test_a_wrong_topic_is_refused(self, topic):
        with pytest.raises(SchemaError, match="Wrong: topic"):

            class Wrong(Event, topic=topic):
                pass

    @pytest.mark.parametrize("topic", ["orders.2024", "orders.", "a..b", "9"])
    def test_a_topic_that_makes_no_avro_name_needs_a_name(self, topic):
        with pytest.raises(SchemaError, match="name="):

            class Wrong(Event, topic=topic):
                pass

        class Right(Event, topic=topic, name="orders.Right"):
            pass

        assert Right.__choreo_topic__ == topic

    def test_a_name_needs_a_topic(self):
        with pytest.raises(SchemaError, match="topic="):

            class Wrong(Event, name="a.b"):
                pass

    def test_an_event_is_frozen(self):
        with pytest.raises(ValidationError):
            Placed().order_id = "2"
        with pytest.raises(SchemaError, match="frozen"):

            class Wrong(Event, topic="x", frozen=False):
                pass

    def test_all_refused_fields_are_named_at_once(self):
        with pytest.raises(SchemaError) as caught:

            class Wrong(Event, topic="x"):
                a: set[int]
                b: Decimal
                c: str
                d: tuple[int, ...]

        lines = str(caught.value).splitlines()
        assert [line.partition(":")[0] for line in lines] == ["Wrong.a", "Wrong.b", "Wrong.d"]

    def test_a_class_that_waits_for_another_is_checked_when_it_is_complete(self):
        assert Later(inner=DefinedLater(weight=1)).inner.weight == 1
        with pytest.raises(ValidationError, match=r"inner\.weight"):
            Later(inner={"weight": math.nan})

        class Wrong(Event, topic="x"):
            inner: "DefinedHere"

        class DefinedHere(BaseModel):
            a: set[int]

        with pytest.raises(SchemaError, match=r"DefinedHere\.a"):
            Wrong.model_rebuild(_types_namespace={"DefinedHere": DefinedHere})


class TestValues:
    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("quantity", 2**63),
            ("quantity", -(2**63) - 1),
            ("weight", math.nan),
            ("weight", math.inf),
            ("at", datetime(2026, 1, 1)),  # noqa: DTZ001
            ("at", datetime.min.replace(tzinfo=timezone(timedelta(hours=1)))),
            ("opens", time(9, tzinfo=UTC)),
            ("order_id", "\ud800"),
            ("total", "NaN"),
            ("total", "1.234"),
            ("total", "12345.00"),
        ],
    )
    def test_what_avro_cannot_hold_is_refused_by_name(self, field, value):
        with pytest.raises(ValidationError) as caught:
            Placed(**{field: value})
        assert [each["loc"][0] for each in caught.value.errors()] == [field]

    @pytest.mark.parametrize(
        "wrong",
        [
            {"quantity": 2**63},
            {"weight": -math.inf},
            {"at": datetime(2026, 1, 1)},  # noqa: DTZ001
            {"sku": "\ud800"},
        ],
    )
    def test_nested_models_are_held_to_it_too(self, wrong):
        name = next(iter(wrong))
        line = Line(**wrong)  # On its own, a plain model is as it was.
        for build in (
            lambda: Placed(lines=[wrong]),
            lambda: Placed(lines=[line]),
            lambda: Placed(by_name={"k": line}),
            lambda: Placed(either=line),
        ):
            with pytest.raises(ValidationError) as caught:
                build()
            assert any(name in each["loc"] for each in caught.value.errors())

    def test_the_bounds_themselves_are_fine(self):
        event = Placed(quantity=2**63 - 1, at=datetime.max.replace(tzinfo=UTC), lines=[Line(quantity=-(2**63))])
        assert event.lines[0].quantity == -(2**63)

    def test_a_model_that_nests_itself_is_held_to_it(self):
        assert Tree(children=[Tree(children=[Tree()])]).children[0].children[0].weight == 0
        with pytest.raises(ValidationError, match=r"children\.0\.children\.0\.weight"):
            Tree(children=[{"children": [{"weight": math.nan}]}])

    def test_own_limits_stay(self):
        class Limited(Event, topic="x"):
            a: Annotated[int, Field(ge=0, le=10)]

        with pytest.raises(ValidationError):
            Limited(a=11)

    def test_a_subclass_of_a_nested_model_becomes_the_nested_model(self):
        class Longer(Line):
            more: str = "more"

        assert type(Placed(lines=[Longer()]).lines[0]) is Line


class TestSensitive:
    def test_neither_repr_nor_errors_show_it(self):
        class Holder(BaseModel):
            number: Annotated[str, Sensitive()]

        class Paid(Event, topic="payments"):
            card: Annotated[str, Sensitive()]
            holder: Holder
            amount: int

        shown = repr(Paid(card="4111", holder=Holder(number="4222"), amount=1))
        assert "4111" not in shown
        assert "4222" not in shown
        assert "amount=1" in shown
        with pytest.raises(ValidationError) as caught:
            Paid(card=4111, holder={"number": 4222}, amount=1)
        assert "4111" not in str(caught.value)
        assert "4222" not in str(caught.value)


class TestIds:
    SAGA = "28a4a0a1-41fc-5a63-a5d0-7a66f0d3c3d7"

    def test_a_saga_id_follows_from_type_key_and_generation(self):
        namespace = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")
        first = saga_id_for("order-fulfilment", "order-17")
        assert first == str(uuid.uuid5(namespace, "choreo:saga:order-fulfilment:order-17"))
        assert saga_id_for("order-fulfilment", "order-17", 1) == first
        second = saga_id_for("order-fulfilment", "order-17", 2)
        assert second == str(uuid.uuid5(namespace, "choreo:saga:order-fulfilment:order-17:2"))

    def test_a_start_has_one_id(self):
        assert start_event_id(self.SAGA) == str(uuid.uuid5(uuid.UUID(self.SAGA), "start"))

    @pytest.mark.parametrize("index", [0, 7, "effect"])
    @pytest.mark.parametrize("branch", ["", "/0a1b2c3d:1.3"])
    def test_r02_an_emitted_id_is_a_digest_of_the_step(self, index, branch):
        text = f"{self.SAGA}\npayments.capture\n{branch}\ntrigger-1\n{index}\n"
        digest = bytearray(blake2b(text.encode(), digest_size=16).digest())
        digest[6] = digest[6] & 0x0F | 0x80
        digest[8] = digest[8] & 0x3F | 0x80
        made = emitted_id(self.SAGA, "payments.capture", branch, "trigger-1", index)
        assert made == str(uuid.UUID(bytes=bytes(digest)))
        assert uuid.UUID(made).version == 8
        assert uuid.UUID(made).variant == uuid.RFC_4122

    def test_r02_golden_values(self):
        assert emitted_id(self.SAGA, "payments.capture", "", "t", 0) == GOLDEN_EMITTED
        assert saga_id_for("order-fulfilment", "order-17") == GOLDEN_SAGA
        assert start_event_id(GOLDEN_SAGA) == GOLDEN_START

    def test_uuid7_is_text_in_order(self):
        made = [uuid7() for _ in range(50)]
        assert made == sorted(made)
        assert {uuid.UUID(each).version for each in made} == {7}


def test_an_envelope_says_nothing_that_it_was_not_told():
    envelope = Envelope(Placed(), b"", "e", "web_orders.Placed", "s")
    assert (envelope.hop, envelope.path, envelope.causes, envelope.branch) == (0, (), (), "")
