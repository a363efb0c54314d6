import confluent_kafka
import pytest
from hypothesis import given
from hypothesis import strategies as st

from choreo.testing.memory_transport.murmur2 import murmur2, partition_of


@pytest.mark.parametrize(
    ("key", "digest"),
    [
        # Kafka's own: clients/src/test/java/org/apache/kafka/common/utils/UtilsTest.java, testMurmur2.
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_golden_values_of_java(key, digest):
    assert murmur2(key) == digest % 2**32


@given(st.binary(min_size=1, max_size=80), st.integers(1, 100))
def test_librdkafka_agrees(key, partitions):
    assert partition_of(key, partitions) == confluent_kafka.murmur2(key, partitions)


def test_r04_a_partition_comes_from_the_positive_half_of_the_hash():
    # The digest of this key is negative in Java, which clears the sign bit before it takes the rest.
    assert partition_of(b"foobar", 6) == (-790332482 & 0x7FFFFFFF) % 6
