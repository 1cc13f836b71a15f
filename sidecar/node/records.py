"""Record framing of logs, snapshots and the submission socket.

0        4           8
+--------+-----------+----------------------+
| length | crc32c    | payload              |     little-endian
+--------+-----------+----------------------+     crc32c: CRC-32C (Castagnoli) of the payload
"""

import struct

import google_crc32c

from sidecar.errors import NumberInvalid
from sidecar.limits import RECORD_BYTES_MAX

_HEAD = struct.Struct("<II")
HEAD_BYTES = _HEAD.size

unpack_head = _HEAD.unpack


def crc32c(payload: bytes) -> int:
    """CRC-32C (RFC 3720 appendix B.4) of bytes. O(n), in hardware where the processor can."""
    return int(google_crc32c.value(payload))


def extend_crc32c(crc: int, payload: bytes) -> int:
    """The CRC-32C of what `crc` covers followed by `payload`."""
    return int(google_crc32c.extend(crc, payload))


def frame(payload: bytes) -> bytes:
    """A payload as one record. Raises `NumberInvalid` over the limit."""
    if not 0 < len(payload) <= RECORD_BYTES_MAX:
        raise NumberInvalid(f"a record of {len(payload)} bytes; it takes 1 to {RECORD_BYTES_MAX}")
    return _HEAD.pack(len(payload), crc32c(payload)) + payload
