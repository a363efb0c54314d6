"""What the demo plays on: an embedded broker, the five services, and the tracker that follows them.

Starting these in order and ending them in reverse live here; orders and the screen do not. Nothing on it is special to
the demo but the broker.
"""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from choreo import Settings, running
from choreo.kafka import EmbeddedTransport
from choreo.tracker import Follower, Store, Tracker
from choreo.transport import Transport

from ..inventory import inventory
from ..notification import notifications
from ..order import orders
from ..payment import payments
from ..shipping import shipping

PARTITIONS = 4
START_S_MAX = 60.0


@dataclass(frozen=True, slots=True)
class Stage:
    """What is there while the demo runs.

    Attributes:
        transport: The embedded broker, for publishing.
        tracker: What it tells of sagas.
        fallen: Done, with its error, as soon as a service or the tracker's follower ends by itself.
    """

    transport: Transport
    tracker: Tracker
    fallen: asyncio.Task[None]


@contextlib.asynccontextmanager
async def stage(data: Path) -> AsyncIterator[Stage]:
    """Start everything and end it again.

    Args:
        data: Folder for the tracker's store.

    Raises:
        ChoreoError: What kept a service from starting, or ended it.
    """
    settings = Settings(partitions=PARTITIONS, replication=1)
    async with contextlib.AsyncExitStack() as stack:
        transport = EmbeddedTransport()
        stack.callback(transport.close)
        live = await stack.enter_async_context(
            running(
                orders,
                inventory,
                payments,
                shipping,
                notifications,
                settings=settings,
                transport=transport,
                create_topics=True,
            )
        )
        path = data / "tracker.db"
        store = Store(path)
        stack.callback(store.close)
        tracker = stack.enter_context(Tracker.open(f"sqlite:///{path}"))
        stop = threading.Event()
        following = asyncio.create_task(asyncio.to_thread(Follower(store, transport).run, stop))
        ending = asyncio.create_task(live.wait())
        fallen = asyncio.create_task(_first(following, ending))
        try:
            await live.wait_ready(START_S_MAX)
            yield Stage(transport, tracker, fallen)
        finally:
            fallen.cancel()
            stop.set()
            live.stop()
            await asyncio.gather(following, ending)


async def _first(*tasks: asyncio.Task[None]) -> None:
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
