"""The AsyncAPI document: valid by the official schema, and it says what travels."""

import json
import random
from functools import cache
from pathlib import Path
from typing import Any

import fastavro
import jsonschema
import pytest

from choreo.asyncapi import AVRO, asyncapi
from choreo.choreography import Choreography
from tests.checks.graphs import GRAPHS, graph
from tests.diagram.scenes import everything, hostile, invented

SCHEMA = Path(__file__).parent / "data" / "asyncapi" / "3.0.0.json"
DOCUMENTS = {**{name: graph(name) for name in GRAPHS}, "everything": everything(), "invented": invented(3)}
Node = dict[str, Any]


@cache
def validator() -> jsonschema.Draft7Validator:
    return jsonschema.Draft7Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))


def document(name: str) -> Node:
    return asyncapi(DOCUMENTS[name])


def resolved(document: Node, reference: Node) -> Node:
    [path] = reference.values()
    found: Any = document
    for part in path.removeprefix("#/").split("/"):
        found = found[part.replace("~1", "/").replace("~0", "~")]
    assert isinstance(found, dict)
    return found


def references(node: Any) -> list[Node]:
    if isinstance(node, list):
        return [each for item in node for each in references(item)]
    if not isinstance(node, dict):
        return []
    return [node] if "$ref" in node else [each for item in node.values() for each in references(item)]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_it_is_valid_by_the_official_schema(name: str):
    assert [error.message for error in validator().iter_errors(document(name))] == []


def broken_channel(found: Node) -> None:
    found["channels"]["orders"]["adress"] = "orders"


def broken_payload(found: Node) -> None:
    found["components"]["messages"]["orders.OrderPlaced"]["payload"]["schema"]["type"] = "recird"


def broken_binding(found: Node) -> None:
    found["components"]["messages"]["orders.OrderPlaced"]["bindings"]["kafka"]["bindingVersion"] = "9"


def broken_operation(found: Node) -> None:
    found["operations"]["payments.capture.receive.orders"]["action"] = "consume"


@pytest.mark.parametrize("damage", [broken_channel, broken_payload, broken_binding, broken_operation])
def test_the_official_schema_would_say_so(damage):
    found = document("order")
    damage(found)
    assert list(validator().iter_errors(found)) != []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_reference_leads_somewhere_and_operations_stay_in_their_channel(name: str):
    found = document(name)
    for reference in references(found):
        assert resolved(found, reference)
    for operation in found["operations"].values():
        channel = resolved(found, operation["channel"])
        assert operation["messages"] != []
        for reference in operation["messages"]:
            assert resolved(found, reference) in channel["messages"].values()


def test_a_channel_is_a_topic_and_has_a_message_for_each_of_its_event_types():
    found = document("order")
    assert {name: channel["address"] for name, channel in found["channels"].items()} == {
        topic: topic for topic in ("inventory", "notifications", "orders", "payments", "shipping")
    }
    assert sorted(found["channels"]["payments"]["messages"]) == [
        "payments.PaymentCaptured",
        "payments.PaymentDeclined",
        "payments.PaymentRefunded",
    ]
    assert found["channels"]["payments"]["bindings"]["kafka"]["topic"] == "payments"


def test_a_payload_is_the_avro_schema_that_is_checked_in():
    found = document("order")
    payload = found["components"]["messages"]["orders.OrderPlaced"]["payload"]
    assert payload["schemaFormat"] == AVRO == "application/vnd.apache.avro+json;version=1.9.0"
    written = Path(__file__).parents[1] / "avro" / "orders.OrderPlaced.avsc"
    assert payload["schema"] == json.loads(written.read_text(encoding="utf-8"))
    for message in found["components"]["messages"].values():
        fastavro.parse_schema(message["payload"]["schema"])


def test_headers_are_those_of_cloudevents_in_binary_mode():
    found = document("order")
    message = found["components"]["messages"]["payments.PaymentCaptured"]
    common = found["components"]["schemas"]["Headers"]
    headers = {
        "ce_specversion": "1.0",
        "ce_id": "018f",
        "ce_type": "payments.PaymentCaptured",
        "ce_source": "/payments/capture",
        "ce_time": "2026-01-31T12:00:00Z",
        "ce_sagaid": "018f2d3c-6c5b-5e0f-8a1b-3c4d5e6f7a8b",
        "ce_hop": "2",
        "content-type": "application/avro",
    }
    schema = {"allOf": [common, message["headers"]["allOf"][1]]}
    jsonschema.validate(headers, schema)
    for wrong in ({"ce_type": "payments.PaymentDeclined"}, {"ce_id": ""}, {"ce_hop": "two"}, {"ce_specversion": "0.3"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(headers | wrong, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"ce_type": "payments.PaymentCaptured"}, schema)


def test_headers_name_all_that_the_wire_has():
    wire = (Path(__file__).parents[1] / "docs" / "reference" / "wire.md").read_text(encoding="utf-8")
    table = wire.partition("**Headers**")[2].partition("\n\nUnknown")[0]
    named = {name for line in table.splitlines()[4:] for name in line.split("|")[1].replace("`", "").split(", ")}
    assert set(document("order")["components"]["schemas"]["Headers"]["properties"]) == {each.strip() for each in named}


def test_the_key_is_the_saga_id_and_correlates():
    message = document("order")["components"]["messages"]["orders.OrderPlaced"]
    assert message["bindings"]["kafka"]["key"]["format"] == "uuid"
    assert message["correlationId"]["location"] == "$message.header#/ce_sagaid"


def test_a_handler_receives_from_each_topic_that_its_service_reads_for_it():
    found = document("order")
    operations = {name: each for name, each in found["operations"].items() if name.startswith("payments.refund.")}
    assert {name: (each["action"], len(each["messages"])) for name, each in operations.items()} == {
        "payments.refund.receive.payments": ("receive", 1),
        "payments.refund.receive.shipping": ("receive", 3),
        "payments.refund.send.payments": ("send", 1),
    }
    assert operations["payments.refund.receive.shipping"]["bindings"]["kafka"]["groupId"]["const"] == "payments"
    assert "bindings" not in operations["payments.refund.send.payments"]


def test_what_keeps_a_handler_from_running_is_received_too():
    found = document("everything")["operations"]
    assert {each["$ref"] for each in found["shop.overdue.receive.shop"]["messages"]} == {
        f"#/channels/shop/messages/shop.{name}" for name in ("Placed", "Confirmed", "Cancelled")
    }


def test_what_comes_from_outside_is_sent_by_the_service_that_publishes_it():
    found = document("approval")["operations"]
    assert [each["$ref"] for each in found["approvals.from-outside.send.approvals"]["messages"]] == [
        "#/channels/approvals/messages/approvals.ApprovalRequested"
    ]
    assert found["approvals.from-outside.send.decisions"]["x-choreo"]["by"]["decisions.ManagerApproved"] == "a manager"
    assert len(found["approvals.from-outside.send.decisions"]["messages"]) == 4


def test_sagas_compensations_and_sensitive_fields_are_told_as_extensions():
    found = document("order")
    messages = found["components"]["messages"]
    assert found["info"]["x-choreo"]["sagas"]["order-fulfilment"] == {
        "owner": "orders",
        "starts": "orders.OrderPlaced",
        "completes": ["orders.OrderConfirmed"],
        "fails": ["orders.OrderCancelled"],
        "key": "order_id",
    }
    placed = messages["orders.OrderPlaced"]["x-choreo"]
    assert (placed["starts"], placed["sensitive"]) == (["order-fulfilment"], ["address.street", "card"])
    captured = messages["payments.PaymentCaptured"]["x-choreo"]
    assert (captured["undone-by"], "failure" in captured) == (["payments.refund"], False)
    declined = messages["payments.PaymentDeclined"]["x-choreo"]
    assert (declined["failure"], declined["causes-undoing-by"]) == (True, ["inventory.release"])
    refund = found["operations"]["payments.refund.send.payments"]["x-choreo"]
    assert (refund["kind"], refund["original"]) == ("compensation", ["payments.PaymentCaptured"])
    overdue = document("everything")["operations"]["shop.overdue.send.shop"]["x-choreo"]
    assert (overdue["kind"], overdue["within_s"]) == ("deadline", 90.0)


def test_it_says_nothing_of_the_machine_that_made_it():
    assert str(Path(__file__).parents[1]) not in json.dumps(document("order"))
    assert '"place"' not in json.dumps(document("order"))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_no_order_of_services_changes_it(name: str):
    shuffled = random.Random(2).sample(DOCUMENTS[name], len(DOCUMENTS[name]))
    assert json.dumps(asyncapi(shuffled)) == json.dumps(document(name))


def test_its_version_changes_with_any_service_s():
    manifests = graph("order")
    newer = [*manifests[:-1], manifests[-1].model_copy(update={"service_version": "2"})]
    assert asyncapi(newer)["info"]["version"] != asyncapi(manifests)["info"]["version"]
    assert asyncapi(newer)["info"]["x-choreo"]["services"]["notifications"] == "2"


def test_events_that_a_manifest_names_and_does_not_describe_are_left_out():
    manifests = [each.model_copy(update={"events": {}, "schemas": {}}) for each in graph("order")]
    found = asyncapi(manifests)
    assert (found["channels"], found["operations"]) == ({}, {})
    assert list(validator().iter_errors(found)) == []


def test_a_name_with_a_slash_is_escaped_in_references():
    [manifest] = hostile()
    text = manifest.model_copy(update={"events": {}}).model_dump_json()
    odd = manifest.model_validate_json(text).model_copy(
        update={"events": {name: each.model_copy(update={"topic": "a/b~c"}) for name, each in manifest.events.items()}}
    )
    found = asyncapi([odd])
    operations = list(found["operations"].values())
    assert operations
    assert all(resolved(found, each["channel"])["address"] == "a/b~c" for each in operations)
    assert Choreography([odd]).topics == ("a/b~c",)
