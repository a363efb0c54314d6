"""Avro's smallest parts: variable-length numbers, lengths and counts.

What the generated encoders and decoders call where their fast paths end lives here; nothing here knows a schema.
Lengths and counts are checked against what is really there, so that a few bytes cannot claim a gigabyte.
"""

import struct
from decimal import Context, Decimal, Inexact, InvalidOperation

from choreo.errors import SchemaError
from choreo.schema.avro import DIGITS_MAX

LONG_BITS = 64
SMALL = 1 << 13
_CONTINUATIONS = sum(128 << shift for shift in range(0, 49, 7))
_EIGHT = struct.Struct("8B").unpack_from

# Enough precision for every decimal there can be, and an error instead of a silent rounding.
EXACT = Context(prec=2 * DIGITS_MAX, Emax=999_999, Emin=-999_999, traps=[Inexact, InvalidOperation])


_VARINTS = tuple(bytes((n & 127 | 128, n >> 7)) if n >> 7 else bytes((n,)) for n in range(1 << 14))
_CONTINUED = tuple(bytes((n & 127 | 128, n >> 7 | 128)) for n in range(1 << 14))
"""Two bytes of a longer number: with tables, a timestamp costs four look-ups instead of eight shifts."""

SMALL_LONGS = _VARINTS[::2]
"""The encodings of 0 to SMALL - 1: of most lengths, counts and quantities."""


def long_bytes(number: int) -> bytes:
    """Return a long's encoding.

    Raises:
        SchemaError: If it needs more than 64 bits.
    """
    rest = number << 1 if number >= 0 else ~(number << 1)
    if 1 << 49 <= rest < 1 << 56:  # Timestamps of our time in microseconds.
        return (
            _CONTINUED[rest & 16383]
            + _CONTINUED[rest >> 14 & 16383]
            + _CONTINUED[rest >> 28 & 16383]
            + _VARINTS[rest >> 42]
        )
    if rest >> LONG_BITS:
        raise SchemaError(f"{number} does not fit into 64 bits")
    head = b""
    while rest >> 14:
        head += _CONTINUED[rest & 16383]
        rest >>= 14
    return head + _VARINTS[rest]


def long_at(body: bytes, at: int) -> tuple[int, int]:
    """Return the long that begins here, and where it ends.

    Raises:
        ValueError: If it needs more than 64 bits.
        IndexError: If the bytes end before it does.
    """
    zigzag = shift = 0
    while True:
        byte = body[at]
        at += 1
        zigzag |= (byte & 127) << shift
        if byte < 128:  # noqa: PLR2004  # The last byte has no continuation bit.
            break
        shift += 7
        if shift > LONG_BITS:
            raise ValueError("a number beyond 64 bits")
    if zigzag >> LONG_BITS:
        raise ValueError("a number beyond 64 bits")
    return (zigzag >> 1) ^ -(zigzag & 1), at


def timestamp_at(body: bytes, at: int) -> tuple[int, int]:
    """Return the long that begins here, and where it ends; quick where it has eight bytes.

    Raises:
        ValueError: If it needs more than 64 bits.
        IndexError: If the bytes end before it does.
    """
    if at + 8 <= len(body):
        a, b, c, d, e, f, g, h = _EIGHT(body, at)
        if a & b & c & d & e & f & g & 128 and h < 128:  # noqa: PLR2004  # Seven continue and the eighth ends it.
            zigzag = a + (b << 7) + (c << 14) + (d << 21) + (e << 28) + (f << 35) + (g << 42) + (h << 49)
            zigzag -= _CONTINUATIONS
            return (zigzag >> 1) ^ -(zigzag & 1), at + 8
    return long_at(body, at)


def span_at(body: bytes, at: int) -> tuple[int, int]:
    """Return where the bytes of the string that begins here start, and where they end.

    Raises:
        ValueError: If it claims a negative length, or more than is there.
    """
    length, start = long_at(body, at)
    end = start + length
    if length < 0 or end > len(body):
        raise ValueError(f"a length of {length} with {len(body) - start} bytes left")
    return start, end


def count_at(body: bytes, at: int) -> tuple[int, int]:
    """Return how many items the block that begins here has, and where the first one is.

    Raises:
        ValueError: If it claims more items than bytes are left; each takes one at least.
    """
    count, at = long_at(body, at)
    if count < 0:
        # A negative count is followed by the block's size in bytes, for readers that skip it.
        count = -count
        size, at = long_at(body, at)
        if not 0 <= size <= len(body) - at:
            raise ValueError(f"a block of {size} bytes with {len(body) - at} left")
    if count > len(body) - at:
        raise ValueError(f"a count of {count} with {len(body) - at} bytes left")
    return count, at


def unscaled(value: Decimal, factor: Decimal, limit: int) -> bytes:
    """Return a decimal's unscaled value, two's complement, big-endian.

    Args:
        value: The decimal.
        factor: Ten to its scale.
        limit: Ten to its precision.

    Raises:
        SchemaError: If it has more digits than that.
    """
    shifted = EXACT.multiply(value, factor)
    number = int(shifted)
    if number != shifted or not -limit < number < limit:
        raise SchemaError(f"{value} has more digits than its type")
    return number.to_bytes(((number if number >= 0 else ~number).bit_length() >> 3) + 1, "big", signed=True)
