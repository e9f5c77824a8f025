"""CRC-32C (Castagnoli), the checksum of TensorFlow's files, at hundreds of megabytes a second with numpy alone.

A checksum without its initial and final inversion is linear: crc(a + b) = shift(crc(a), len(b)) ^ crc(b), and zeros in front
change nothing. So a long message is cut into strips whose checksums grow side by side, one step of 16 bits at a time.
"""

import functools
from typing import Any

import numpy as np

POLYNOMIAL = 0x82F63B78  # bits reversed
STEPS = 512  # of 16 bits in a strip of a long message; fewer, a power of two, in short ones
SEGMENT = 1 << 24  # bytes at once: the strips' current lines stay in the processor's cache


def crc32c(data: Any) -> int:
    """Checksum of bytes or of a contiguous array of them.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    message = np.frombuffer(data, np.uint8) if isinstance(data, bytes | bytearray | memoryview) else data
    state = 0xFFFFFFFF
    for start in range(0, len(message), SEGMENT):
        state = _extend(state, message[start : start + SEGMENT])
    return state ^ 0xFFFFFFFF


def unmask(stored: int) -> int:
    """The checksum that was stored masked, as TensorFlow does because checksums of checksums are weak."""
    rotated = (stored - 0xA282EAD8) & 0xFFFFFFFF
    return (rotated >> 17 | rotated << 15) & 0xFFFFFFFF


def _extend(state: int, message: np.ndarray) -> int:
    """The inner state after more bytes."""
    if len(message) < 4:
        for byte in message.tolist():
            state = int(_table8()[(state ^ byte) & 0xFF]) ^ state >> 8
        return state
    steps = min(STEPS, 1 << len(message).bit_length() // 2)
    strips = -(-len(message) // (2 * steps))
    padded = np.zeros(strips * 2 * steps, np.uint8)
    padded[-len(message) :] = message
    first = len(padded) - len(message)
    padded[first : first + 4] ^= np.frombuffer(state.to_bytes(4, "little"), np.uint8)  # the state so far, as part of the message
    words, table = padded.view("<u2").reshape(strips, steps), _table16()
    states = np.zeros(strips, np.uint32)
    for step in range(steps):
        states = table[(states ^ words[:, step]) & 0xFFFF] ^ (states >> 16)
    return _join(states, 2 * steps)


def _join(states: np.ndarray, size: int) -> int:
    """The state of all strips in a row, of `size` bytes each, joined pair by pair."""
    while len(states) > 1:
        if len(states) % 2:
            states = np.concatenate([np.zeros(1, np.uint32), states])
        states = _apply(_shift(size), states[0::2]) ^ states[1::2]
        size *= 2
    return int(states[0])


@functools.cache
def _shift(size: int) -> tuple[int, ...]:
    """What that many zero bytes (a power of two) do to each bit of a state: the columns of a matrix over two elements."""
    if size == 1:
        states = np.left_shift(np.uint32(1), np.arange(32, dtype=np.uint32))
        return tuple((_table8()[states & 0xFF] ^ (states >> 8)).tolist())
    half = _shift(size // 2)
    return tuple(_apply(half, np.array(half, np.uint32)).tolist())


def _apply(columns: tuple[int, ...], states: np.ndarray) -> np.ndarray:
    out = np.zeros_like(states)
    for bit, column in enumerate(columns):
        out ^= (states >> np.uint32(bit) & np.uint32(1)) * np.uint32(column)
    return out


@functools.cache
def _table8() -> np.ndarray:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = table >> np.uint32(1) ^ (table & np.uint32(1)) * np.uint32(POLYNOMIAL)
    return table


@functools.cache
def _table16() -> np.ndarray:
    """What 16 bits of message do to an empty state."""
    words = np.arange(1 << 16, dtype=np.uint32)
    once = _table8()[words & 0xFF] ^ (words >> np.uint32(8))
    return _table8()[once & 0xFF] ^ (once >> np.uint32(8))
