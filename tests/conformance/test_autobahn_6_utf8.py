"""Autobahn's section 6: what is UTF-8 is echoed, what is not fails the connection with 1007.

6.1: empty fragments; 6.2: valid text, cut between and within characters; 6.3: invalid text; 6.4:
invalid text is refused at the octet that makes it so, whatever is still to come: failing at the
end of the message would be NON-STRICT. 6.5 to 6.23 are the sequences of Markus Kuhn's UTF-8 decoder
stress test, with its numbers. Autobahn's ranges in 6.12.8 and 6.14 leave out their last byte; so
do these.
"""

from itertools import chain

import pytest

from tests.conformance.casebook import (
    INVALID_PAYLOAD,
    OCTETS,
    Case,
    closed_with,
    echo_of,
    end,
    merged,
    ping,
    play,
    pong_of,
)
from tests.conformance.frame_client import TEXT, FrameClient, fragments, frame, more, text

_GREETING = "Hello-µ@ßöäüàá-UTF-8!!".encode()
_GREEK = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5"  # five letters, the second one of 3 bytes
_SURROGATE = _GREEK + b"\xed\xa0\x80" + b"edited"
_BEYOND_UNICODE = _GREEK + b"\xf4\x90\x80\x80" + b"edited"  # wrong from its 13th octet on


def _echoed(payload: bytes, *sent: bytes) -> Case:
    return Case(sent or (text(payload),), (echo_of(payload),))


def _refused(payload: bytes, *sent: bytes) -> Case:
    return Case(sent or (text(payload),), closed=INVALID_PAYLOAD)


BASIC = {
    "6.1.1": _echoed(b""),
    "6.1.2": _echoed(b"", text(b"", fin=False), more(b""), more(b"", fin=True)),
    "6.1.3": _echoed(b"middle", text(b"", fin=False), more(b"middle"), more(b"", fin=True)),
    "6.2.1": _echoed(_GREETING),
    "6.2.2": _echoed(_GREETING, *fragments(TEXT, _GREETING, 12)),
    "6.2.3": _echoed(_GREETING, *fragments(TEXT, _GREETING, OCTETS)),
    "6.2.4": _echoed(_GREEK, *fragments(TEXT, _GREEK, OCTETS)),
    "6.3.1": _refused(_SURROGATE),
    "6.3.2": _refused(_SURROGATE, *fragments(TEXT, _SURROGATE, OCTETS)),
}

# Where the message is cut: what is before the first place is valid, the second piece is not.
FAIL_FAST_IN_FRAMES = {"6.4.1": (11, 15), "6.4.2": (12, 13)}
FAIL_FAST_IN_CHOPS = {"6.4.3": (11, 15), "6.4.4": (12, 13)}


def _sequences(section: str, words: str, *, valid: bool) -> dict[str, Case]:
    make = _echoed if valid else _refused
    return {
        f"{section}.{number}": make(bytes.fromhex(word))
        for number, word in enumerate(words.split(), 1)
    }


def _prefixes(section: str) -> dict[str, Case]:
    """All beginnings of a text of characters of 2, 3, 2, 2 and 2 bytes."""
    return {
        f"{section}.{size}": (_echoed if size in (2, 5, 7, 9, 11) else _refused)(_GREEK[:size])
        for size in range(1, len(_GREEK) + 1)
    }


def _lonely(first: int, last: int) -> str:
    return "".join(f"{byte:02x}20" for byte in range(first, last))


_CUT_OFF = "c0 e080 f08080 f8808080 fc80808080 df efbf f7bfbf fbbfbfbf fdbfbfbfbf"
_NON_CHARACTERS = " ".join(
    f"{0xF0 | plane >> 2:02x}{0x8F | (plane & 3) << 4:02x}bf{last}"
    for plane in range(1, 17)
    for last in ("be", "bf")
)

STRESS = merged(
    _sequences(
        "6.5",
        f"68656c6c6f24776f726c64 68656c6c6fc2a2776f726c64 68656c6c6fe282ac776f726c64 "
        f"68656c6c6ff0a4ada2776f726c64 {_GREEK.hex()}",
        valid=True,
    ),
    _prefixes("6.6"),
    _sequences("6.7", "00 c280 e0a080 f0908080", valid=True),  # the first of each length
    _sequences("6.8", "f888808080 fc8480808080", valid=False),
    _sequences("6.9", "7f dfbf efbfbf f48fbfbf", valid=True),  # the last of each length
    _sequences("6.10", "f7bfbfbf fbbfbfbfbf fdbfbfbfbfbf", valid=False),
    _sequences("6.11", "ed9fbf ee8080 efbfbd f48fbfbf", valid=True),  # other boundaries
    {"6.11.5": _refused(b"\xf4\x90\x80\x80")},
    _sequences(  # unexpected continuation bytes
        "6.12",
        f"80 bf 80bf 80bf80 80bf80bf 80bf80bf80 80bf80bf80bf {bytes(range(0x80, 0xBF)).hex()}",
        valid=False,
    ),
    _sequences(  # first bytes without another
        "6.13",
        " ".join(
            _lonely(first, last)
            for first, last in (
                (0xC0, 0xDF),
                (0xE0, 0xEF),
                (0xF0, 0xF7),
                (0xF8, 0xFB),
                (0xFC, 0xFD),
            )
        ),
        valid=False,
    ),
    _sequences("6.14", _CUT_OFF, valid=False),  # the last byte missing
    _sequences("6.15", _CUT_OFF.replace(" ", ""), valid=False),
    _sequences("6.16", "fe ff fefeffff", valid=False),  # impossible bytes
    _sequences("6.17", "c0af e080af f08080af f8808080af fc80808080af", valid=False),  # overlong "/"
    _sequences("6.18", "c1bf e09fbf f08fbfbf f887bfbfbf fc83bfbfbfbf", valid=False),  # the longest
    _sequences("6.19", "c080 e08080 f0808080 f880808080 fc8080808080", valid=False),  # overlong NUL
    _sequences("6.20", "eda080 edadbf edae80 edafbf edb080 edbe80 edbfbf", valid=False),
    _sequences(  # pairs of surrogates
        "6.21",
        "eda080edb080 eda080edbfbf edadbfedb080 edadbfedbfbf "
        "edae80edb080 edae80edbfbf edafbfedb080 edafbfedbfbf",
        valid=False,
    ),
    _sequences("6.22", f"efbfbe efbfbf {_NON_CHARACTERS}", valid=True),
    _sequences("6.23", "efbfb9 efbfba efbfbb efbfbc efbfbd efbfbe efbfbf", valid=True),
)

CASES = merged(BASIC, STRESS)
FAIL_FAST = tuple(chain(FAIL_FAST_IN_FRAMES, FAIL_FAST_IN_CHOPS))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_case(case: Case, echo_port: int) -> None:
    play(case, echo_port)


@pytest.mark.parametrize("cuts", FAIL_FAST_IN_FRAMES.values(), ids=FAIL_FAST_IN_FRAMES)
def test_fail_fast_in_frames(cuts: tuple[int, int], echo_port: int) -> None:
    """The first frame is fine: a Ping behind it is answered. The second is refused by itself: the
    rest is never sent.
    """
    valid, invalid = _BEYOND_UNICODE[: cuts[0]], _BEYOND_UNICODE[slice(*cuts)]
    with FrameClient(echo_port) as client:
        client.send(text(valid, fin=False) + ping(b"still there?"))
        assert client.hear() == pong_of(b"still there?")
        client.send(more(invalid))
        assert closed_with(client) == INVALID_PAYLOAD


@pytest.mark.parametrize("cuts", FAIL_FAST_IN_CHOPS.values(), ids=FAIL_FAST_IN_CHOPS)
def test_fail_fast_in_chops(cuts: tuple[int, int], echo_port: int) -> None:
    """Likewise within one frame. That the first chop is fine shows where a valid rest follows."""
    whole = frame(TEXT, _BEYOND_UNICODE)
    head = len(whole) - len(_BEYOND_UNICODE)
    with FrameClient(echo_port) as client:
        client.send(whole[: head + cuts[0]])
        client.send(whole[head + cuts[0] : head + cuts[1]])
        assert closed_with(client) == INVALID_PAYLOAD
    last = _BEYOND_UNICODE[: cuts[0]] + b"\xf4\x8f\x80\x80edited"[cuts[0] - 11 :]
    with FrameClient(echo_port) as client:
        client.send(text(last)[: head + cuts[0]])
        client.send(text(last)[head + cuts[0] :])
        assert client.hear() == echo_of(last)
        end(client)
