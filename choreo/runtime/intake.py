"""From records to what they hold, sorted by saga.

Decoding a batch, its second chance once newly announced schemas are read, dead letters and the sorting into chains live
here; what a chain comes to does not (`course`). The engine has one and asks it once a batch.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from choreo.clock import Clock
from choreo.command import COMMANDS, Command
from choreo.errors import UndecodableRecord
from choreo.runtime import notes
from choreo.runtime.work import Chain, Item, Work
from choreo.step import Rules
from choreo.transport import Outgoing, Record

_WORTH_A_LOOK = frozenset({"unknown-type", "unknown-fingerprint"})
Chains = dict[tuple[int, str], Chain]


@dataclass(frozen=True, slots=True)
class Intake:
    """Reads the records of one service.

    Args:
        rules: The service, compiled.
        clock: Where time comes from.
        partitions: The memories held: partition → saga_id → encoded memory.
        refresh: Looks for schemas that were announced since; awaited once a batch that has something unknown.
        concerns: Whether this service consumes events of a saga type; True where that is not known.
    """

    rules: Rules
    clock: Clock
    partitions: Mapping[int, Mapping[str, bytes]]
    refresh: Callable[[], Awaitable[None]] | None
    concerns: Callable[[str], bool]

    async def chains(self, records: Sequence[Record], work: Work) -> tuple[Chains, dict[tuple[int, str], Record]]:
        """Return what came, by saga, and apart from it the ends of sagas that nothing else came for.

        Most ends come alone, and need no chain.
        """
        chains: Chains = {}
        ends: dict[tuple[int, str], Record] = {}
        reactions = self.rules.reactions
        for record, item in await self._read(records, work):
            if item is None:
                self._place_end(record, chains, ends, work)
                continue
            key = (record.partition, item.saga_id)
            chain = chains.get(key)
            if isinstance(item, Command):
                # A command about a saga that is not remembered is answered as well, though by nothing that is kept.
                chain = chain or chains.setdefault(key, Chain(*key, []))
            elif item.type not in reactions:
                continue
            if chain is None:
                chain = chains[key] = Chain(*key, [(ends.pop(key), None)] if key in ends else [])
            chain.items.append((record, item))
        return chains, ends

    def dead_letter(self, record: Record, error: UndecodableRecord, outputs: list[Outgoing], work: Work) -> None:
        """Set a record aside, with the reason."""
        outputs.append(notes.dead_letter(record, self.rules.service, error, self.clock.now()))
        work.counts["dead-lettered"] += 1
        work.counts[f"dead-lettered:{error.reason}"] += 1

    def _item(self, record: Record) -> tuple[Record, Item] | None:
        """Return what a record holds; None where it is not for this service."""
        if record.topic == notes.ENDS:
            return record, None
        if record.topic == COMMANDS:
            command = Command.from_record(record.key, record.value)
            return (record, command) if command.service == self.rules.service else None
        envelope = self.rules.codec.read(record)
        return None if envelope is None else (record, envelope)

    async def _read(self, records: Sequence[Record], work: Work) -> list[tuple[Record, Item]]:
        found: list[tuple[Record, Item]] = []
        failed: list[tuple[int, Record, UndecodableRecord]] = []
        read, ends, offsets = self._item, notes.ENDS, work.offsets
        for record in records:
            offsets[record.topic, record.partition] = record.offset + 1
            if record.topic == ends:
                found.append((record, None))
                continue
            try:
                item = read(record)
            except UndecodableRecord as error:
                failed.append((len(found), record, error))
                found.append((record, None))
                continue
            if item is not None:
                found.append(item)
        return await self._read_again(found, failed, work) if failed else found

    async def _read_again(
        self, found: list[tuple[Record, Item]], failed: list[tuple[int, Record, UndecodableRecord]], work: Work
    ) -> list[tuple[Record, Item]]:
        """Give what is unknown its second chance, and everything else to the dead letters."""
        if self.refresh is not None and any(error.reason in _WORTH_A_LOOK for _, _, error in failed):
            await self.refresh()
        dropped: set[int] = set()
        for index, record, reason in failed:
            try:
                if reason.reason not in _WORTH_A_LOOK:
                    raise reason
                item = self._item(record)
            except UndecodableRecord as final:
                # Another service's command is its own to set aside; unreadable, nobody knows whose it is.
                self.dead_letter(record, final, work.outputs, work)
                item = None
            if item is None:
                dropped.add(index)
            else:
                found[index] = item
        return [item for index, item in enumerate(found) if index not in dropped]

    def _place_end(self, record: Record, chains: Chains, ends: dict[tuple[int, str], Record], work: Work) -> None:
        try:
            saga_id, saga_type = notes.read_end(record)
        except UndecodableRecord as error:
            self.dead_letter(record, error, work.outputs, work)
            return
        key = (record.partition, saga_id)
        if key in chains:
            chains[key].items.append((record, None))
        elif saga_id in self.partitions[record.partition]:
            ends.setdefault(key, record)
        elif self.concerns(saga_type):
            chains[key] = Chain(*key, [(record, None)])
