"""How brokers are reached, and what they last said went wrong.

Client properties common to all clients and the errors that reach callbacks only live here; what each client is for
does not. Every module of this package builds its clients from a `Connection`.
"""

import logging
from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaError

CALL_TIMEOUT_S = 30.0
_log = logging.getLogger("choreo.kafka")
_log.addHandler(logging.NullHandler())

# librdkafka reports every reconnect at this level; what matters comes back through calls and `last_error`.
_client_log = logging.getLogger("choreo.kafka.client")
_client_log.setLevel(logging.CRITICAL + 1)

DEFAULTS: Mapping[str, Any] = {
    "bootstrap.servers": "localhost:9092",
    "socket.keepalive.enable": True,
    "reconnect.backoff.ms": 50,
    "reconnect.backoff.max.ms": 1000,
    # A wait of 100 ms between retries would be the tail of every hop (CONCURRENT_TRANSACTIONS).
    "retry.backoff.ms": 10,
    # librdkafka keeps a removed topic's or a moved leader's metadata for long otherwise.
    "topic.metadata.refresh.fast.interval.ms": 100,
}


class Connection:
    """Client properties, and the last error that a client's callback was given.

    Args:
        config: Client properties of the user's, which win over the defaults.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = {**DEFAULTS, **config}
        self._last_error = ""

    def config(self, chosen: Mapping[str, Any], forced: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return a client's properties.

        Args:
            chosen: What choreo chooses; the user's win over it.
            forced: What a promise rests on; it wins over the user's.
        """
        return {
            **chosen,
            **self._config,
            **(forced or {}),
            "error_cb": self._on_error,
            # Without a logger of ours, fatal errors go to stderr whatever the log level.
            "logger": _client_log,
        }

    def setting(self, name: str, default: str | int) -> str:
        """Return what the user says of a property, or `default`."""
        return str(self._config.get(name, default))

    @property
    def servers(self) -> str:
        """The brokers, as configured."""
        return str(self._config["bootstrap.servers"])

    def reason(self, error: object) -> str:
        """Return what to tell a person: the call's error, and what the client last said of its connections.

        A wrong password or certificate shows in calls as a time-out; its cause reaches the callback alone.
        """
        text = f"{error}"
        advice = _advice(self._last_error or text)
        last = f"; the client says: {self._last_error}" if self._last_error else ""
        return f"no answer from {self.servers}: {text}{last}{advice}"

    def _on_error(self, error: KafkaError) -> None:
        # That all brokers are down follows every real reason, and says none.
        if error.code() != KafkaError._ALL_BROKERS_DOWN or not self._last_error:  # noqa: SLF001 - librdkafka's own code.
            self._last_error = str(error.str())
        _log.debug("%s: %s", error.name(), error.str())


def _advice(text: str) -> str:
    lower = text.lower()
    if "apiversion" in lower:
        return ". Is KAFKA_SECURITY_PROTOCOL what this listener speaks (SASL_SSL, SSL, ...)?"
    if "authentication" in lower or "sasl" in lower:
        return ". Check KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD and KAFKA_SASL_MECHANISM"
    if "ssl" in lower or "certificate" in lower:
        return ". Check KAFKA_SECURITY_PROTOCOL and KAFKA_SSL_CA_LOCATION"
    if "resolve" in lower:
        return ". Check the host name in KAFKA_BOOTSTRAP_SERVERS or --bootstrap-server"
    return ". Is a broker running there? Say where it is: --bootstrap-server host:port, or KAFKA_BOOTSTRAP_SERVERS"
