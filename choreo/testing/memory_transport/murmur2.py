"""Which partition a key belongs to, as Java's producer works it out.

Murmur2 with Kafka's seed and the step from a hash to a partition live here; nothing is kept or sent. The broker in
memory calls it for every record that names no partition itself.
"""

from functools import lru_cache

KEYS_REMEMBERED_MAX = 65_536
_SEED = 0x9747B28C
_M = 0x5BD1E995
_MASK = 0xFFFFFFFF
_POSITIVE = 0x7FFFFFFF


def murmur2(data: bytes) -> int:
    """Return the 32 bits of `org.apache.kafka.common.utils.Utils.murmur2`, unsigned."""
    length = len(data)
    digest = _SEED ^ length
    whole = length & ~3
    for begin in range(0, whole, 4):
        word = int.from_bytes(data[begin : begin + 4], "little") * _M & _MASK
        word = (word ^ word >> 24) * _M & _MASK
        digest = digest * _M & _MASK ^ word
    if whole < length:
        digest = (digest ^ int.from_bytes(data[whole:], "little")) * _M & _MASK
    digest = (digest ^ digest >> 13) * _M & _MASK
    return digest ^ digest >> 15


@lru_cache(KEYS_REMEMBERED_MAX)
def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition that Java's default partitioner gives a key, of so many, at least 1."""
    return (murmur2(key) & _POSITIVE) % partitions
