"""Text that others have written, fit for a terminal and for a line of a log. Pure."""

import re

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def line(text: str) -> str:
    """On one line, control characters shown instead of obeyed. O(length)."""
    return block(text).replace("\n", "\\n")


def block(text: str) -> str:
    """Likewise, but lines and tabs stay. Characters that turn the writing direction are shown,
    too.
    """
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
