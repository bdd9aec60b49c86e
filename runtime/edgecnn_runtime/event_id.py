"""Identifiers of events: UUIDs of version 7 (RFC 9562, section 5.7), which ascend with time."""

import secrets
import time

RANDOM_BITS = 74
STEP_BITS = 32
"""Random bits of the step between two ids of one millisecond."""


def event_id(after: str = "") -> str:
    """A new id: 32 hexadecimal digits.

    Args:
        after: An id that the new one must follow, whatever the clock does; "" for none.
    """
    value = time.time_ns() // 1_000_000 << RANDOM_BITS | secrets.randbits(RANDOM_BITS)
    if after:
        value = max(value, _value(after) + 1 + secrets.randbits(STEP_BITS))
    stamp, high, low = value >> RANDOM_BITS, value >> 62 & 0xFFF, value & (1 << 62) - 1
    return f"{stamp << 80 | 7 << 76 | high << 64 | 2 << 62 | low:032x}"


def _value(identifier: str) -> int:
    """Time stamp and random bits of an id, without its version and variant."""
    number = int(identifier, 16)
    return number >> 80 << RANDOM_BITS | (number >> 64 & 0xFFF) << 62 | number & (1 << 62) - 1
