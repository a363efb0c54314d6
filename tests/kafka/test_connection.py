"""What people are told when brokers cannot be reached, and what the client's errors mean."""

import pytest
from confluent_kafka import KafkaError, KafkaException

from choreo.errors import TopicProblem, TransportError
from choreo.kafka.connection import Connection
from choreo.kafka.failures import Meaning, fences_consumer, meaning, permanent


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("sasl_plain: Authentication failed: Invalid username or password", "KAFKA_SASL_PASSWORD"),
        ("ssl handshake failed: certificate verify failed", "KAFKA_SSL_CA_LOCATION"),
        ("Failed to resolve 'kafka:9092': Name or service not known", "host name"),
        ("Connect to ipv4#127.0.0.1:9092 failed: Connection refused", "--bootstrap-server"),
        ("ApiVersionRequest failed: probably due to incorrect security.protocol", "KAFKA_SECURITY_PROTOCOL"),
    ],
)
def test_what_the_client_said_last_comes_with_advice(said: str, advice: str):
    connection = Connection({"bootstrap.servers": "kafka:9092"})
    connection.config({})["error_cb"](KafkaError(KafkaError._TRANSPORT, said))
    text = connection.reason("timed out")
    assert text.startswith("no answer from kafka:9092: timed out")
    assert said in text
    assert advice in text


def test_that_all_brokers_are_down_does_not_hide_the_reason():
    connection = Connection({"bootstrap.servers": "kafka:9092"})
    tell = connection.config({})["error_cb"]
    tell(KafkaError(KafkaError._AUTHENTICATION, "sasl: Invalid username"))
    tell(KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))
    assert "Invalid username" in connection.reason("timed out")


def test_the_users_properties_win_but_for_what_promises_rest_on():
    connection = Connection(
        {"bootstrap.servers": "kafka:9092", "linger.ms": "7", "isolation.level": "read_uncommitted"}
    )
    config = connection.config({"linger.ms": 2, "fetch.wait.max.ms": 5}, {"isolation.level": "read_committed"})
    assert config["linger.ms"] == "7"
    assert config["fetch.wait.max.ms"] == 5
    assert config["isolation.level"] == "read_committed"
    assert config["socket.keepalive.enable"] is True


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (KafkaError(KafkaError._FENCED), Meaning.FENCED),
        (KafkaError(KafkaError.INVALID_PRODUCER_EPOCH), Meaning.FENCED),
        (KafkaError(KafkaError.FENCED_INSTANCE_ID, txn_requires_abort=True), Meaning.FENCED),
        (KafkaError(KafkaError.ILLEGAL_GENERATION, txn_requires_abort=True), Meaning.ABORT),
        (KafkaError(KafkaError._TIMED_OUT, retriable=True), Meaning.AGAIN),
        (KafkaError(KafkaError._TIMED_OUT), Meaning.RENEW),
        (KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, fatal=True), Meaning.RENEW),
        # A fatal error is never made again, whatever else it claims.
        (KafkaError(KafkaError._TIMED_OUT, retriable=True, fatal=True), Meaning.RENEW),
    ],
)
def test_each_error_has_one_meaning(error: KafkaError, wanted: Meaning):
    assert meaning(KafkaException(error)) is wanted


def test_a_member_that_was_replaced_is_told_so():
    assert fences_consumer(KafkaError(KafkaError.FENCED_INSTANCE_ID))
    assert fences_consumer(KafkaError(KafkaError._FATAL))
    assert not fences_consumer(KafkaError(KafkaError._TRANSPORT))
    assert not fences_consumer(KafkaError(KafkaError.ILLEGAL_GENERATION))


def test_what_no_retry_mends_is_told_with_a_fix():
    missing = permanent(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART), "orders")
    assert isinstance(missing, TopicProblem)
    assert "topic orders" in str(missing)
    assert "choreo topics apply" in str(missing)
    denied = permanent(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED), "orders")
    assert isinstance(denied, TransportError)
    assert "Write" in str(denied)
    assert permanent(KafkaError(KafkaError._TRANSPORT)) is None
