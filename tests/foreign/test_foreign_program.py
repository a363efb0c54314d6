"""The wire format is enough: a program without choreo starts a saga and reads its events to the end."""

import ast
import asyncio
import json
import sys
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from choreo import Event, Failure, Publisher, Saga, Service, running
from tests.kafka.desk import settings

PROGRAM = Path(__file__).with_name("program.py")
Money = Annotated[Decimal, Field(max_digits=12, decimal_places=2)]


class Line(BaseModel):
    title: str
    quantity: int
    amount: Money


class Shop:
    """An order that is charged and confirmed, or declined."""

    def __init__(self, prefix: str) -> None:
        class OrderPlaced(Event, topic=f"{prefix}orders"):
            order_id: str
            lines: list[Line]
            total: Money
            note: str | None = None

        class PaymentCaptured(Event, topic=f"{prefix}payments"):
            amount: Money

        class PaymentDeclined(Failure, topic=f"{prefix}payments"):
            pass

        class OrderConfirmed(Event, topic=f"{prefix}orders"):
            order_id: str

        class OrderCancelled(Failure, topic=f"{prefix}orders"):
            pass

        self.placed = OrderPlaced
        self.orders = orders = Service(f"{prefix}desk")
        orders.owns(
            Saga(f"{prefix}order", starts=OrderPlaced, completes=OrderConfirmed, fails=OrderCancelled, key="order_id")
        )

        @orders.handles
        def confirm(captured: PaymentCaptured, placed: OrderPlaced) -> OrderConfirmed:
            return OrderConfirmed(order_id=placed.order_id)

        @orders.handles
        def cancel(declined: PaymentDeclined) -> OrderCancelled:
            return OrderCancelled(reason=declined.reason)

        self.payments = payments = Service(f"{prefix}till")

        @payments.handles
        def charge(placed: OrderPlaced) -> PaymentCaptured | PaymentDeclined:
            if placed.total > 100:
                return PaymentDeclined(reason=f"{placed.total} is above the limit")
            return PaymentCaptured(amount=sum((line.amount * line.quantity for line in placed.lines), Decimal()))


async def told_by_the_program(kafka: str, saga_type: str, order: dict[str, Any]) -> list[dict[str, Any]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        str(PROGRAM),
        kafka,
        saga_type,
        order["order_id"],
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(json.dumps(order).encode())
    assert process.returncode == 0, err.decode()
    return [json.loads(line) for line in out.decode().splitlines()]


@pytest.mark.kafka
@pytest.mark.timeout(90)
async def test_a_foreign_program_starts_sagas_and_reads_them_to_their_ends(kafka: str, prefix: str):
    shop = Shop(prefix)
    chosen = settings(kafka, prefix)
    small = {"order_id": "f-1", "lines": [{"title": "Kind of Blue", "quantity": 2, "amount": 11.25}], "total": 22.50}
    large = small | {"order_id": "f-2", "total": 100.01}
    async with running(shop.orders, shop.payments, settings=chosen, create_topics=True) as live:
        await live.wait_ready()
        first = await told_by_the_program(kafka, f"{prefix}order", small)
        second = await told_by_the_program(kafka, f"{prefix}order", large)
        async with Publisher(shop.orders, settings=chosen) as publisher:
            placed = shop.placed.model_validate_json(json.dumps(small | {"total": "22.50", "lines": []}))
            again = await publisher.publish_async(placed)

    # What follows of one start that was sent twice.
    events, ends = split(first)
    kinds = {kind: [each for each in events if each["kind"] == kind] for kind in (each["kind"] for each in events)}
    assert {kind: len(each) for kind, each in kinds.items()} == {
        "OrderPlaced": 2,
        "PaymentCaptured": 1,
        "OrderConfirmed": 1,
    }
    assert kinds["PaymentCaptured"][0]["body"] == {"amount": "22.50"}
    assert kinds["OrderConfirmed"][0]["body"] == {"order_id": "f-1"}
    assert [end["outcome"] for end in ends] == ["completed"]
    ids = {each["headers"]["ce_id"] for each in events}
    for each in events:
        headers = each["headers"]
        assert headers["ce_sagaid"] == again, "choreo derives the same id from the same key"
        assert headers["ce_specversion"] == "1.0"
        assert headers["content-type"] == "application/avro"
        if each["kind"] != "OrderPlaced":
            assert headers["ce_causationid"] in ids
            assert uuid.UUID(headers["ce_id"]).version == 8
            assert headers["ce_source"].startswith(f"/{prefix}")
    assert ids >= {end["event_id"] for end in ends}

    events, ends = split(second)
    assert {each["kind"] for each in events} == {"OrderPlaced", "PaymentDeclined", "OrderCancelled"}
    assert [end["outcome"] for end in ends] == ["failed"]
    declined = next(each for each in events if each["kind"] == "PaymentDeclined")
    assert declined["body"] == {"reason": "100.01 is above the limit"}


def split(told: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    events = [each | {"kind": each["headers"]["ce_type"].rpartition(".")[2]} for each in told if "end" not in each]
    return events, [each["end"] for each in told if "end" in each]


def test_the_program_knows_nothing_of_choreo():
    tree = ast.parse(PROGRAM.read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    outside = {name.partition(".")[0] for name in imported} - sys.stdlib_module_names
    assert outside == {"confluent_kafka", "fastavro"}
