"""Takes out of log lines what nobody may read there: signatures, keys, tokens. Pure."""

import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "(hidden)"
_KEYS = frozenset(
    (
        *("signature", "token", "tokens", "authorization", "password", "secret"),
        *("private_key", "body", "headers"),
    )
)
_SHAPES = (
    (re.compile(r"(?i)\bbearer\s+[^\s\"',;)]+"), f"Bearer {HIDDEN}"),
    (re.compile(r"\b0x[0-9a-fA-F]{130}\b"), HIDDEN),  # r, s and v together
    (re.compile(r"""(["']?\b[rs]["']?\s*[:=]\s*["']?)0x[0-9a-fA-F]{40,64}"""), rf"\1{HIDDEN}"),
    (re.compile(r"(?i)([?&](?:token|access_token|key|signature)=)[^&\s\"']+"), rf"\1{HIDDEN}"),
)


def redact(value: Any, key: str = "") -> Any:
    """The value as it may be shown, by its key and by its shape. O(size)."""
    if key.lower() in _KEYS:
        return HIDDEN
    if isinstance(value, str):
        for shape, instead in _SHAPES:
            value = shape.sub(instead, value)
        return value
    if isinstance(value, Mapping):
        return {name: redact(one, str(name)) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [redact(one) for one in value]
    return value
