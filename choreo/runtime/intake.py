"""From records to what they hold, sorted by saga.

Sorting a batch by saga, decoding a saga's records when its turn has come, their second chance once newly announced
schemas are read, and dead letters live here; what they come to does not (`saga_processor`). The engine has one.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from choreo.clock import Clock
from choreo.errors import BrokerUnavailable, UndecodableRecord
from choreo.records import COMMANDS, ENDS, Command, dead_letter, read_end
from choreo.runtime.batch import BatchResult, Item, SagaBatch
from choreo.runtime.partition import OwnedPartition
from choreo.step import Rules
from choreo.transport import Outgoing, Record

LOOK_AGAIN_S = 1.0
"""Seconds between two looks for manifests while the brokers do not answer."""
_log = logging.getLogger("choreo")
_WORTH_A_LOOK = frozenset({"unknown-type", "unknown-fingerprint"})
SagaKey = tuple[int, bytes | None]
"""A partition and a record's key: a saga, before anything of it is decoded."""


@dataclass(frozen=True, slots=True)
class Intake:
    """Reads the records of one service.

    Args:
        rules: The service, compiled.
        clock: Where time comes from.
        partitions: The partitions owned, with the memories held.
        refresh: Looks for schemas that were announced since; awaited once a batch that has something unknown.
        concerns: Whether this service consumes events of a saga type; True where that is not known.
    """

    rules: Rules
    clock: Clock
    partitions: Mapping[int, OwnedPartition]
    refresh: Callable[[], Coroutine[Any, Any, None]] | None
    concerns: Callable[[str], bool]

    def saga_batches(
        self, records: Sequence[Record], work: BatchResult
    ) -> tuple[dict[SagaKey, SagaBatch], dict[SagaKey, Record]]:
        """Return what came, by saga, and apart from it the ends to remember of sagas that nothing else came for.

        Most ends come alone, and need no `SagaBatch`.
        """
        saga_batches: dict[SagaKey, SagaBatch] = {}
        ends: dict[SagaKey, Record] = {}
        offsets = work.offsets
        for record in records:
            topic, partition, offset, key, _, _, _ = record
            offsets[topic, partition] = offset + 1
            saga = (partition, key)
            saga_batch = saga_batches.get(saga)
            if topic == ENDS and saga_batch is None:
                try:
                    if self._is_relevant_end(record):
                        ends.setdefault(saga, record)
                except UndecodableRecord as error:
                    self.dead_letter(record, error, work.outputs, work)
                continue
            if saga_batch is None:
                saga_batch = saga_batches[saga] = SagaBatch(partition, key, [ends.pop(saga)] if saga in ends else [])
            saga_batch.records.append(record)
        return saga_batches, ends

    def items(
        self, saga_batch: SagaBatch, work: BatchResult, *, looked: bool = False
    ) -> list[tuple[Record, Item]] | None:
        """Return what a saga's records hold, without those that are not for this service or cannot be read.

        Args:
            saga_batch: The records.
            work: Where those are counted that cannot be read.
            looked: Schemas that were announced since have been looked for: what is unknown now remains so.

        Returns:
            None where that `look` may tell what one of them is.
        """
        found: list[tuple[Record, Item]] = []
        useless: list[tuple[Record, UndecodableRecord]] = []
        rules = self.rules
        for record in saga_batch.records:
            topic = record[0]
            try:
                if topic == ENDS:
                    if self._is_relevant_end(record) or found:
                        found.append((record, None))
                elif topic == COMMANDS:
                    command = Command.from_record(record.key, record.value)
                    if command.service == rules.service:
                        found.append((record, command))
                else:
                    envelope = rules.codec.read(record)
                    if envelope is not None and envelope.type in rules.reactions:
                        found.append((record, envelope))
            except UndecodableRecord as error:
                if not looked and self.refresh is not None and error.reason in _WORTH_A_LOOK:
                    return None
                # Another service's command is its own to set aside; unreadable, nobody knows whose it is.
                useless.append((record, error))
        for record, why in useless:
            self.dead_letter(record, why, saga_batch.outputs, work)
        return found

    def dead_letter(self, record: Record, error: UndecodableRecord, outputs: list[Outgoing], work: BatchResult) -> None:
        """Set a record aside, with the reason."""
        outputs.append(dead_letter(record, self.rules.service, error, self.clock.now()))
        work.counts["dead-lettered"] += 1
        work.counts[f"dead-lettered:{error.reason}"] += 1

    async def look(self, work: BatchResult) -> None:
        """Look for schemas that were announced since, once for all of a batch.

        While the brokers do not tell, the batch waits: a good record is no dead letter because they are slow.
        """
        if work.refreshed is None and self.refresh is not None:
            work.refreshed = asyncio.ensure_future(self._look(self.refresh))
        if work.refreshed is not None:
            await work.refreshed

    async def _look(self, refresh: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while True:
            try:
                return await refresh()
            except BrokerUnavailable as error:
                _log.warning("%s: a batch waits for the manifests, again: %s", self.rules.service, error)
                await asyncio.sleep(LOOK_AGAIN_S)

    def _is_relevant_end(self, record: Record) -> bool:
        """Return whether an end is one to remember: of a saga that is known here, or may be.

        Raises:
            UndecodableRecord: If the record is not an end.
        """
        saga_id, saga_type = read_end(record)
        return saga_id in self.partitions[record.partition].memories or self.concerns(saga_type)
