"""The schemas that are out there, wherever that is.

Putting them together by event, from a folder, a git revision or what services announced, lives here; holding new ones
against them does not (`schema.evolution`). `choreo schema` calls this.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from choreo.cli.revision import SUFFIX
from choreo.cli.running import newest
from choreo.manifest import Manifest
from choreo.schema.evolution import BreakKind, KnownSchema, SchemaBreak


def in_files(texts: Mapping[str, str], place: str) -> Iterator[KnownSchema]:
    """Yield the schemas of files.

    Args:
        texts: What each file says, by its name.
        place: What stands before its name where it is told of: a folder, or a revision and a folder.
    """
    for name, text in texts.items():
        yield KnownSchema(name.removesuffix(SUFFIX), text, place + name)


def in_folder(paths: Iterable[Path]) -> Iterator[KnownSchema]:
    """Yield the schemas of those of these files that are there."""
    for path in paths:
        if path.is_file():
            yield from in_files({path.name: path.read_text(encoding="utf-8", errors="replace")}, f"{path.parent}/")


def announced(manifests: list[Manifest]) -> Iterator[KnownSchema]:
    """Yield the schemas that services announced, those of versions that have been replaced included.

    Nobody runs these any more, but what they wrote is in the topics.
    """
    runs = newest(manifests)
    for manifest in manifests:
        for name, event in manifest.events.items():
            schema = manifest.schemas.get(event.fingerprint)
            if schema is not None:
                yield KnownSchema(name, schema, manifest.key, current=runs[manifest.service] is manifest)


def gone(manifests: list[Manifest], services: Collection[str], known: Collection[str]) -> Iterator[SchemaBreak]:
    """Yield the events that a deploy takes away from services which go on with them.

    Args:
        manifests: What is out there.
        services: The services that are to be deployed.
        known: The events that these know from then on.
    """
    runs = newest(manifests)
    others = [each for service, each in sorted(runs.items()) if service not in services]
    before = {name for service in services if service in runs for name in runs[service].events}
    for name in sorted(before.difference(known)):
        uses = {each.key: f"{each.service} {use}" for each in others if (use := _use(each, name))}
        if uses:
            fix = "Keep it until no other service reads or emits it; or deploy those without it first."
            why = ", ".join(uses.values())
            yield SchemaBreak(event=name, path="", way=BreakKind.GONE, why=why, fix=fix, out_there=tuple(uses))


def _use(manifest: Manifest, name: str) -> str:
    """Return what a service does with an event: read it, emit it, both, or "" for neither."""
    starts = {saga.starts for saga in manifest.sagas}
    reads, emits = set(starts), starts.union(manifest.publishes)
    for each in manifest.handlers:
        reads.update(each.causes, each.unless, each.awaits, each.original, *each.waits_for, *each.extras)
        emits.update(each.emits)
    return " and ".join(word for word, names in (("reads it", reads), ("emits it", emits)) if name in names)
