"""Small services whose handlers fail until they are mended, on brokers in memory, with a tracker's store beside them."""

from pathlib import Path
from types import TracebackType
from typing import Any

from choreo import Event, Failure, Retry, Saga, Service
from choreo.records import COMMANDS, Command
from choreo.testing import MemoryBroker, Scenario
from choreo.tracker import Follower, Store
from choreo.transport import Record


class Asked(Event, topic="asks"):
    ask_id: str


class Noted(Event, topic="desk"):
    ask_id: str


class Answered(Event, topic="desk"):
    ask_id: str


class Declined(Failure, topic="desk"):
    ask_id: str


class Filed(Event, topic="files"):
    ask_id: str


class Unfiled(Event, topic="files"):
    ask_id: str


class Desk:
    """Services `desk` and `files`, each handler of which fails as long as it is in `broken`; use it as a block."""

    def __init__(self, path: Path, *broken: str) -> None:
        self.broken = set(broken)
        self.declines = False
        self._store = Store(path)
        self.scenario = Scenario(self._desk(), self._files(), park=True)
        self._follower = Follower(self._store, self.broker)

    def __enter__(self) -> "Desk":
        self.scenario.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.scenario.__exit__(kind, error, trace)
        self._follower.close()
        self._store.close()

    @property
    def broker(self) -> MemoryBroker:
        return self.scenario.broker

    def ask(self, *ids: str) -> list[str]:
        """Start these sagas, and return their ids once there is nothing left to do."""
        sagas = [self.scenario.publish(Asked(ask_id=each)).saga_id for each in ids]
        self.work()
        return sagas

    def start(self, ask_id: str) -> None:
        """Start a saga that no service has seen yet, and have the tracker read that."""
        self.scenario.publish(Asked(ask_id=ask_id))
        self._follower.catch_up()

    def work(self) -> None:
        """Do all there is to do, and have the tracker read it."""
        self.scenario.settle()
        self._follower.catch_up()

    def kinds(self, saga_id: str) -> list[str]:
        return [type(each.event).__name__ for each in self.scenario.events_of(saga_id)]

    def commands(self) -> list[Command]:
        return [Command.from_record(each.key, each.value) for each in self.broker.records(COMMANDS)]

    def records(self, *topics: str) -> list[Record]:
        return self.broker.records(*topics)

    def _try(self, name: str, ask_id: str) -> None:
        if name in self.broken:
            raise ValueError(f"{name} cannot do {ask_id}\nand never could")

    def _desk(self) -> Service:
        desk = Service("desk")
        desk.owns(Saga("ask", starts=Asked, completes=Answered, fails=Declined, key="ask_id"))

        @desk.handles(retry=Retry(attempts=1))
        def answer(filed: Filed) -> Answered | Declined:
            self._try("answer", filed.ask_id)
            if self.declines:
                return Declined(ask_id=filed.ask_id, reason="no")
            return Answered(ask_id=filed.ask_id)

        @desk.handles(retry=Retry(attempts=1))
        def remark(asked: Asked) -> Noted:
            self._try("remark", asked.ask_id)
            return Noted(ask_id=asked.ask_id)

        return desk

    def _files(self) -> Service:
        files = Service("files")

        @files.handles(retry=Retry(attempts=1))
        def file(asked: Asked) -> Filed:
            self._try("file", asked.ask_id)
            return Filed(ask_id=asked.ask_id)

        @files.compensates(retry=Retry(attempts=1))
        def unfile(cause: Declined, filed: Filed) -> Unfiled:
            self._try("unfile", cause.ask_id)
            return Unfiled(ask_id=filed.ask_id)

        return files


class Kept:
    """Brokers that outlive the commands which close them."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)

    def close(self) -> None:
        pass
