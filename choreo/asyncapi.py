"""A choreography as an AsyncAPI 3.0.0 document.

Channels, messages and operations, as other tools read them, are put together here from manifests; what the events and
headers mean on the wire does not live here (`codec`). Pure: the same services give the same document, in whatever order
they were named.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from hashlib import blake2b
from operator import itemgetter
from typing import Any

from choreo.choreography import Choreography
from choreo.event import short
from choreo.manifest import Manifest

Json = dict[str, Any]  # A document in a format of others, checked against their schema in the tests.

VERSION = "3.0.0"
AVRO = "application/vnd.apache.avro+json;version=1.9.0"
BINDING = "0.5.0"
"""Of the Kafka bindings."""
_TEXT: Json = {"type": "string"}
_UUID: Json = {"type": "string", "format": "uuid"}
_HEADERS: Mapping[str, Json] = {
    "ce_specversion": {"const": "1.0"},
    "ce_id": {"type": "string", "minLength": 1, "maxLength": 64, "description": "The event's id."},
    "ce_type": {**_TEXT, "description": "The event's type: its Avro full name."},
    "ce_source": {**_TEXT, "description": "/service/handler, or any URI from outside."},
    "ce_time": {"type": "string", "format": "date-time", "description": "UTC; without it, the record's timestamp."},
    "ce_subject": {**_TEXT, "description": "The business key."},
    "ce_sagaid": {**_UUID, "description": "The saga id. It equals the record's key; without it, the key counts."},
    "ce_sagatype": {**_TEXT, "description": "Name of the saga type."},
    "ce_causationid": {**_TEXT, "description": "Id of the event that made the step ready; absent from outside."},
    "ce_causes": {**_TEXT, "description": "Of a join: the ids of all its causes, comma-separated."},
    "ce_compensatesid": {**_TEXT, "description": "Id of the original that this event undoes."},
    "ce_branch": {**_TEXT, "description": "Absent or empty at the root."},
    "ce_hop": {"type": "string", "pattern": "^[0-9]{1,9}$", "description": "Events from the start, counted from 0."},
    "ce_path": {**_TEXT, "description": "Completed steps that led here, comma-separated, oldest first, the last 32."},
    "content-type": {"const": "application/avro"},
    "traceparent": {**_TEXT, "description": "W3C trace context."},
    "tracestate": {**_TEXT, "description": "W3C trace context."},
}
"""What travels around every event, as in CloudEvents' binary mode; each value is text in UTF-8."""


def asyncapi(manifests: Iterable[Manifest]) -> Json:
    """Return the document of these services: a channel for each topic, a message for each event type.

    A service's handlers are operations: one for each topic that a handler reads and one for each that it writes to.
    What AsyncAPI has no word for stands in `x-choreo`.

    Args:
        manifests: Of several versions of one service, the last one given counts where they differ.
    """
    known = list(manifests)
    choreography = Choreography(known)
    schemas = {digest: schema for manifest in known for digest, schema in manifest.schemas.items()}
    document: Json = {
        "asyncapi": VERSION,
        "info": _info(choreography, known),
        "defaultContentType": "application/avro",
        "channels": {topic: _channel(choreography, topic) for topic in choreography.topics},
        "operations": dict(sorted(_operations(choreography), key=itemgetter(0))),
        "components": {
            "messages": {name: _message(choreography, name, schemas) for name in choreography.events},
            "schemas": {"Headers": {"type": "object", "required": ["ce_id", "ce_type"], "properties": _HEADERS}},
        },
    }
    # The document is its caller's; the schemas in it are the manifests'.
    return deepcopy(document)


def _info(choreography: Choreography, manifests: Sequence[Manifest]) -> Json:
    services = {manifest.service: manifest.service_version for manifest in manifests}
    versions = "".join(f"{name}@{version}\n" for name, version in sorted(services.items()))
    sagas = {
        name: {"owner": owned.owner, **owned.manifest.model_dump(mode="json", exclude={"name"}, exclude_none=True)}
        for name, owned in choreography.sagas.items()
    }
    return {
        "title": ", ".join(choreography.sagas or sorted(choreography.services)),
        # There is no version of all services but that of each.
        "version": blake2b(versions.encode(), digest_size=6).hexdigest(),
        "description": (
            "Events of sagas on Kafka. The key of a record is its saga id, and its partition is murmur2 of the key. "
            "Its value is Avro's single-object encoding: C3 01, the schema's fingerprint, the body."
        ),
        "x-choreo": {"services": dict(sorted(services.items())), "sagas": sagas},
    }


def _channel(choreography: Choreography, topic: str) -> Json:
    names = [name for name, event in choreography.events.items() if event.topic == topic]
    return {
        "address": topic,
        "messages": {name: _ref("components", "messages", name) for name in names},
        "bindings": {
            "kafka": {
                "topic": topic,
                "topicConfiguration": {"cleanup.policy": ["delete"]},
                "bindingVersion": BINDING,
            }
        },
    }


def _message(choreography: Choreography, name: str, schemas: Mapping[str, Json]) -> Json:
    event = choreography.events[name]
    message: Json = {
        "name": name,
        "title": short(name),
        "contentType": "application/avro",
        "headers": {
            "allOf": [
                {"$ref": "#/components/schemas/Headers"},
                {"type": "object", "properties": {"ce_type": {"const": name}}},
            ]
        },
        "correlationId": {"description": "The saga id.", "location": "$message.header#/ce_sagaid"},
        "bindings": {"kafka": {"key": {**_UUID, "description": "The saga id."}, "bindingVersion": BINDING}},
        "x-choreo": _facts(choreography, name),
    }
    if event.fingerprint in schemas:
        message["payload"] = {"schemaFormat": AVRO, "schema": schemas[event.fingerprint]}
    return message


def _facts(choreography: Choreography, name: str) -> Json:
    """Return what AsyncAPI has no word for, leaving out what does not hold."""
    event = choreography.events[name]
    sagas = choreography.sagas
    facts: Json = {
        "failure": event.failure,
        "fingerprint": event.fingerprint,
        "sensitive": event.sensitive,
        "starts": [saga for saga, owned in sagas.items() if owned.starts == name],
        "completes": [saga for saga, owned in sagas.items() if name in owned.completes],
        "fails": [saga for saga, owned in sagas.items() if name in owned.fails],
        "undone-by": sorted(step.name for step in choreography.compensations_of(name)),
        "causes-undoing-by": sorted(step.name for step in choreography.caused_by(name)),
    }
    return {key: value for key, value in facts.items() if value}


def _operations(choreography: Choreography) -> Iterator[tuple[str, Json]]:
    for step in choreography.nodes:
        facts = {
            "service": step.service,
            **step.handler.model_dump(mode="json", exclude_defaults=True, exclude={"place"}),
        }
        for action, names in (("receive", step.reads | step.original), ("send", frozenset(step.handler.emits))):
            for topic, found in _by_topic(choreography, names).items():
                yield f"{step.name}.{action}.{topic}", _operation(action, step.name, topic, found, facts)
    for service in choreography.services:
        starts = {owned.starts for owned in choreography.sagas.values() if owned.owner == service}
        published = {name for name in choreography.events if service in choreography.publishers(name)}
        for topic, found in _by_topic(choreography, starts | published).items():
            deciding = {name: by for name in found if (by := choreography.publishers(name).get(service))}
            facts = {"service": service, "kind": "from outside"} | ({"by": deciding} if deciding else {})
            yield f"{service}.from-outside.send.{topic}", _operation("send", service, topic, found, facts)


def _by_topic(choreography: Choreography, names: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in sorted(names):
        if name in choreography.events:
            found.setdefault(choreography.events[name].topic, []).append(name)
    return found


def _operation(action: str, title: str, topic: str, names: Iterable[str], facts: Json) -> Json:
    operation: Json = {
        "action": action,
        "channel": _ref("channels", topic),
        "title": title,
        "tags": [{"name": facts["service"]}],
        "messages": [_ref("channels", topic, "messages", name) for name in names],
        "x-choreo": facts,
    }
    if action == "receive":
        group = {"type": "string", "const": facts["service"], "description": "One group a service, of its name."}
        operation["bindings"] = {"kafka": {"groupId": group, "bindingVersion": BINDING}}
    return operation


def _ref(*path: str) -> Json:
    """Return a reference to a place in the document, as a JSON pointer."""
    return {"$ref": "#/" + "/".join(part.replace("~", "~0").replace("/", "~1") for part in path)}
