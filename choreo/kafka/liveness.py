"""Does a client still reach brokers, and leaving one that does not.

A client forgets every broker when an answer names none, as brokers answer while their controller counts all of them as
away, and sometimes never looks for one again (librdkafka #5301, since 2.10). It says nothing of it: it reads nothing,
and its calls time out. Whoever uses one client for long asks here when nothing has come for a while, and goes on with a
new one.
"""

import logging
import threading
import time

from confluent_kafka import Consumer, KafkaException

from choreo.kafka.connection import Connection

QUIET_S = 10.0
"""How long nothing may come before the client is asked."""
ANSWER_TIMEOUT_S = 3.0
CLOSE_TIMEOUT_S = 10.0
_GROUP = "choreo-reader"
_log = logging.getLogger("choreo.kafka")


class Liveness:
    """What is known of one client.

    Args:
        connection: The brokers.
        name: Whose client it is, for messages.
        topic: One that the client uses; asked about, since an answer that names all topics may be large.
    """

    def __init__(self, connection: Connection, name: str, topic: str) -> None:
        self._connection = connection
        self._name = name
        self._topic = topic
        self._heard = time.monotonic()
        self._lost = False

    def hear(self) -> None:
        """Take note that something has come from a broker."""
        self._heard = time.monotonic()

    def lost(self, client: Consumer) -> bool:
        """Return whether the client reaches no broker while another one does; once lost, it stays so.

        Asks nobody within `QUIET_S` of the last sign of life, and takes a millisecond where the client is well. Where
        no broker answers anybody, which is no fault of the client's, it takes twice `ANSWER_TIMEOUT_S`.
        """
        if not self._lost and time.monotonic() - self._heard > QUIET_S:
            # Asked again last: it may have been about to connect to brokers that have just come back.
            self._lost = not self._answered(client) and self._others_answered() and not self._answered(client)
            self.hear()
            if self._lost:
                _log.warning(
                    "%s: its client reaches no broker any more, though %s answer (librdkafka #5301); "
                    "a new one takes its place",
                    self._name,
                    self._connection.servers,
                )
        return self._lost

    def _others_answered(self) -> bool:
        other = Consumer(self._connection.config({"group.id": _GROUP}))
        try:
            return self._answered(other)
        finally:
            leave(other, 0.0)

    def _answered(self, client: Consumer) -> bool:
        try:
            return bool(client.list_topics(self._topic, timeout=ANSWER_TIMEOUT_S).brokers)
        except KafkaException:
            return False


def leave(consumer: Consumer, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
    """Close a consumer, and wait no longer than `timeout_s` for that: one that has lost its brokers takes long.

    It goes on on a thread that nobody waits for, and that ends with the process at the latest.
    """
    closing = threading.Thread(target=consumer.close, name="choreo-leaving", daemon=True)
    closing.start()
    closing.join(timeout_s)
