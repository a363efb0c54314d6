"""The publisher itself: opening, publishing, closing, from threads and from event loops.

Its life and its two ways of waiting live here; identities are `address`'s and counting is `acknowledgement`'s.
Beside `launch` it is the only place that wires a codec to brokers.
"""

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, nullcontext
from typing import Self, Unpack

from choreo.catalog import announcement
from choreo.clock import Clock, SystemClock
from choreo.codec import Codec, Schemas
from choreo.errors import BrokerUnavailable, BufferFull, ChoreoError, SchemaError, TopicProblem
from choreo.event import Event
from choreo.kafka import KafkaTransport
from choreo.manifest import Manifest
from choreo.publisher.acknowledgement import NOT_LOST, Acknowledgements
from choreo.publisher.address import Rights, Where, identify, refused, rights_of
from choreo.records import MANIFESTS
from choreo.service import Declaration, Service, declarations
from choreo.settings import Settings
from choreo.topics import missing_topic
from choreo.transport import Outgoing, Sender, Transport

BUFFER_PAUSE_S = 0.005
GIVE_UP_SHARE = 0.9


class Publisher:
    """Publishes what services own or `publishes`, from outside their handlers.

    Use it as a block: `with` in a script or a synchronous web application, `async with` in an asynchronous one. Opening
    checks that the topics exist and announces the services' manifests; leaving the block waits for what is on its way.
    One publisher may be shared by threads.

    Args:
        services: The services that own or publish the events; the settings may stand last among them.
        settings: Where and how; read from the environment unless given.
        transport: Brokers to use instead of those the settings name; not closed here.
        clock: Where `ce_time` comes from.

    Raises:
        DeclarationError: If the services declare something impossible, all mistakes at once.
    """

    def __init__(
        self,
        *services: Service | Settings,
        settings: Settings | None = None,
        transport: Transport | None = None,
        clock: Clock | None = None,
    ) -> None:
        named = [each for each in services if isinstance(each, Service)]
        given = [each for each in (*services, settings) if isinstance(each, Settings)]
        if not named or len(named) + len(given) < len(services) or len(given) > 1:
            raise TypeError("Publisher(service, …, settings): services, and settings at most once")
        self._settings = given[0] if given else Settings()
        self._declarations: list[Declaration] = declarations(*named)
        self._rights: Rights = rights_of(self._declarations)
        self._codec = Codec(
            dict.fromkeys(kind for each in self._declarations for kind in each.event_types),
            Schemas(),
            event_bytes_max=self._settings.event_bytes_max,
        )
        self._clock = clock or SystemClock()
        self._given_transport = transport
        self._own_transport: KafkaTransport | None = None
        self._sender: Sender | None = None

    def open(self) -> Self:
        """Check the topics and announce the manifests; what `with` does.

        Raises:
            TopicProblem: If a topic is missing; the message names the command that creates it.
            BrokerUnavailable: If no broker answers in time; retrying helps once they are back.
        """
        _keep_off_loops("with Publisher(…)", "async with Publisher(…)")
        self._open()
        return self

    def _open(self) -> None:
        if self._sender is not None:
            return
        transport = self._given_transport
        if transport is None:
            # The client gives up first: its reason says more than our own timeout could.
            patience_ms = str(int(self._settings.publish_timeout_s * GIVE_UP_SHARE * 1000))
            config = {"message.timeout.ms": patience_ms} | self._settings.kafka_config()
            transport = self._own_transport = KafkaTransport(config)
        try:
            self._check_topics(transport)
            self._sender = transport.sender()
            # By its manifest the tracker reads what a service publishes.
            self._send([announcement(Manifest.of(each)) for each in self._declarations])
        except BaseException:
            self._close()
            raise

    def _check_topics(self, transport: Transport) -> None:
        wanted = sorted({kind.__choreo_topic__ for kind in self._rights.types} | {MANIFESTS})
        existing = transport.describe(wanted)
        names = " ".join(each.name for each in self._declarations)
        missing = [
            missing_topic(topic, f"run `choreo topics apply` for {names}") for topic in wanted if topic not in existing
        ]
        if missing:
            raise TopicProblem(missing)

    def close(self) -> None:
        """Wait until the brokers have all that was handed over, then close; closing twice is fine.

        Raises:
            BrokerUnavailable: If they have not taken everything within `publish_timeout_s`; says how much is left.
        """
        _keep_off_loops("close()", "async with Publisher(…)")
        self._close()

    def _close(self) -> None:
        sender, self._sender = self._sender, None
        transport, self._own_transport = self._own_transport, None
        with nullcontext() if transport is None else closing(transport):
            if sender is not None:
                with closing(sender):
                    left = sender.flush(self._settings.publish_timeout_s)
                if left:
                    raise BrokerUnavailable(f"{left} events were not taken by the brokers. {NOT_LOST}")

    def publish(self, event: Event, **where: Unpack[Where]) -> str:
        """Publish one event and return when the brokers have it.

        Args:
            event: The start of a saga, or an event into a running one.
            where: `saga_id=` or `key=` of the running saga (with `saga=` where several types could be meant),
                `branch=`, `generation=` (2 repeats a finished saga) and `event_id=`.

        Returns:
            The saga's id.

        Raises:
            DeclarationError: If these services may not publish it, or it does not say which saga it belongs to.
            SchemaError: If it is larger than `event_bytes_max`.
            BufferFull: If the client's buffer stayed full; retrying helps.
            BrokerUnavailable: If the brokers are silent; bounded by `publish_timeout_s`. Retrying is safe for starts
                with a business key, and with `event_id=`.
        """
        return self.publish_many([event], **where)[0]

    def publish_many(self, events: Iterable[Event], **where: Unpack[Where]) -> list[str]:
        """Publish several events with one wait for all, and return their sagas' ids in order.

        All are checked before the first is sent, so a mistake in one sends none. Arguments and errors are those of
        `publish`; after a `TransportError` some may have been sent.
        """
        _keep_off_loops("publish()", "await publish_async()")
        saga_ids, outgoings = self._prepare(events, where)
        self._send(outgoings)
        return saga_ids

    async def publish_async(self, event: Event, **where: Unpack[Where]) -> str:
        """Publish one event without blocking the event loop; otherwise as `publish`."""
        return (await self.publish_many_async([event], **where))[0]

    async def publish_many_async(self, events: Iterable[Event], **where: Unpack[Where]) -> list[str]:
        """Publish several events without blocking the event loop; otherwise as `publish_many`."""
        saga_ids, outgoings = self._prepare(events, where)
        wait = Acknowledgements(len(outgoings), self._settings.publish_timeout_s, asyncio.get_running_loop())
        for _ in self._hand_over(outgoings, wait):
            await asyncio.sleep(BUFFER_PAUSE_S)
        await wait.wait_async()
        return saga_ids

    def _send(self, outgoings: Sequence[Outgoing]) -> None:
        wait = Acknowledgements(len(outgoings), self._settings.publish_timeout_s)
        for _ in self._hand_over(outgoings, wait):
            time.sleep(BUFFER_PAUSE_S)
        wait.wait()

    def _hand_over(self, outgoings: Sequence[Outgoing], wait: Acknowledgements) -> Iterator[None]:
        """Hand records to the client; yield wherever its buffer is full, to be resumed after a pause."""
        sender, timeout_s = self._sender, self._settings.publish_timeout_s
        if sender is None:
            raise ChoreoError("the publisher is not open: use it in a `with` block, or call open() first")
        for outgoing in outgoings:
            deadline = time.monotonic() + timeout_s
            while True:
                try:
                    sender.enqueue(outgoing, wait.settle)
                    break
                except BufferFull as error:
                    if time.monotonic() >= deadline:
                        message = f"the client's buffer stayed full for {timeout_s:g} s: {error}. {NOT_LOST}"
                        raise BufferFull(message) from error
                yield

    def _prepare(self, events: Iterable[Event], where: Where) -> tuple[list[str], list[Outgoing]]:
        now = self._clock.now()
        saga_ids = []
        outgoings = []
        events = list(events)
        if "event_id" in where and len(events) > 1:
            raise refused(f"event_id= was given for {len(events)} events", "It identifies one event.")
        for event in events:
            envelope = identify(self._rights, event, where)
            outgoing = self._codec.outgoing(envelope._replace(body=self._codec.encode(event), occurred_at=now))
            self._check_size(event, outgoing)
            saga_ids.append(envelope.saga_id)
            outgoings.append(outgoing)
        return saga_ids, outgoings

    def _check_size(self, event: Event, outgoing: Outgoing) -> None:
        size = len(outgoing.key or b"") + len(outgoing.value or b"")
        size += sum(len(name) + len(value) for name, value in outgoing.headers)
        if size > self._settings.event_bytes_max:
            raise SchemaError(
                f"{type(event).__name__} has {size} bytes with its headers, and event_bytes_max is "
                f"{self._settings.event_bytes_max}: keep large things elsewhere and publish where they are"
            )

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *error: object) -> None:
        self._close()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._open)
        return self

    async def __aexit__(self, *error: object) -> None:
        await asyncio.to_thread(self._close)


def _keep_off_loops(call: str, instead: str) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise ChoreoError(f"{call} would block the event loop that runs here: use {instead}")
