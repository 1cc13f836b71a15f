"""Buckets, what was sent of late, what is on its way, outcomes, trace contexts: small and pure."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.api.messages import encode
from sidecar.api.orders import outcomes
from sidecar.api.orders.buckets import Buckets
from sidecar.api.orders.outcomes import Outcome
from sidecar.api.orders.sent import SentAction, SentActions, Unsettled
from sidecar.errors import Limited, NotAdmitted, SignatureInvalid
from sidecar.limits import BUCKETS_KEPT
from sidecar.telemetry.tracecontext import continue_trace

RATE, BURST = 2.0, 5


@given(asked=st.lists(st.tuples(st.floats(0, 3), st.integers(1, 3), st.booleans()), max_size=60))
def test_a_bucket_gives_its_burst_and_its_rate_and_no_more(
    asked: list[tuple[float, int, bool]],
) -> None:
    buckets = Buckets(RATE, BURST, "address")
    now, taken, reserve = 100.0, 0, 0
    for later, weight, cancel in asked:
        now += later
        try:
            buckets.take("a", weight, now, cancel=cancel)
        except Limited as error:
            now += error.retry_after_s + 1e-6
            buckets.take("a", weight, now, cancel=cancel)  # as it was told
        if cancel:
            reserve += weight
        else:
            taken += weight
        assert taken <= BURST + (now - 100.0) * RATE + 1e-6
        assert taken + reserve <= 2 * (BURST + (now - 100.0) * RATE) + 1e-6
        assert 0 <= buckets.left("a", now) <= BURST


def test_who_has_spent_everything_can_still_cancel() -> None:
    buckets = Buckets(RATE, BURST, "account")
    for _ in range(BURST):
        buckets.take(b"a", 1, 0.0)
    with pytest.raises(Limited, match="from this account: 2 requests a second, 5 at a time"):
        buckets.take(b"a", 1, 0.0)
    for _ in range(BURST):
        buckets.take(b"a", 1, 0.0, cancel=True)
    with pytest.raises(Limited):
        buckets.take(b"a", 1, 0.0, cancel=True)
    buckets.take(b"b", 1, 0.0)
    assert buckets.left(b"a", 0.0) == 0
    assert buckets.left(b"c", 0.0) == BURST


def test_who_may_not_even_cancel_is_told_before_being_read() -> None:
    buckets = Buckets(RATE, BURST, "address")
    for taken in range(2 * BURST):
        buckets.check("a", 0.0)
        buckets.take("a", 1, 0.0, cancel=taken >= BURST)
    with pytest.raises(Limited) as caught:
        buckets.check("a", 0.0)
    buckets.check("a", caught.value.retry_after_s + 1e-6)
    buckets.check("b", 0.0)


def test_more_than_a_bucket_holds_takes_all_of_it() -> None:
    buckets = Buckets(RATE, BURST, "account")
    buckets.take("a", 100, 0.0)
    assert buckets.left("a", 0.0) == 0


def test_buckets_are_bounded() -> None:
    buckets = Buckets(RATE, BURST, "address")
    for number in range(BUCKETS_KEPT + 10):
        buckets.take(number, 1, 0.0)
    assert len(buckets) <= BUCKETS_KEPT
    for number in range(BUCKETS_KEPT):
        buckets.take(-1 - number, 1, 1e6)  # those of before are full again
    assert len(buckets) <= BUCKETS_KEPT


KEY = (b"signer", 1)


def test_the_same_action_is_found_until_it_is_forgotten() -> None:
    actions, told = SentActions(kept=2), list[Outcome]()
    assert actions.find(KEY, b"digest") is None
    sent = SentAction(b"digest")
    actions.send(KEY, sent)
    again = actions.find(KEY, b"digest")
    assert again is sent
    again.ask(told.append)
    with pytest.raises(NotAdmitted, match="duplicate nonce 1"):
        actions.find(KEY, b"other")
    assert actions.find(KEY, b"other", refuse=False) is None
    for number in range(2, 10):  # what is on its way stays, whatever comes
        other = SentAction(b"o")
        actions.send((b"signer", number), other)
        actions.over((b"signer", number), other)
    assert len(actions) == 3
    sent.tell(outcomes.refused("no", 7))
    assert [json.loads(one.body) for one in told] == [{"status": "err", "response": "no"}]
    sent.ask(told.append)
    assert len(told) == 2
    actions.over(KEY, sent)
    actions.forget(KEY, sent)
    assert actions.find(KEY, b"other") is None


def test_what_is_on_its_way_is_not_settled() -> None:
    unsettled = Unsettled()
    unsettled.add((b"a", b"b"))
    unsettled.add((b"a",))
    unsettled.settle(5, (b"a", b"b"))
    unsettled.applied(4)
    assert b"b" in unsettled
    unsettled.applied(5)
    assert (b"a" in unsettled, b"b" in unsettled) == (True, False)
    unsettled.settle(0, (b"a",))
    unsettled.applied(6)
    assert b"a" not in unsettled


def test_outcomes_over_http_and_websocket() -> None:
    limited = outcomes.turned_away(Limited("Too many.", 1.2))
    assert (limited.code, limited.headers()) == (429, (("Retry-After", "2"),))
    assert limited.as_post() == {"type": "error", "payload": "429: Too many. Try again in 1.2 s."}
    refused = outcomes.turned_away(SignatureInvalid("no"))
    assert json.loads(encode(refused.as_post()))["payload"] == {"status": "err", "response": "no"}
    response = {"type": "order", "data": {"statuses": [{"error": "x"}]}}
    one_by_one = outcomes.turned_away(NotAdmitted("tick", "x", response))
    assert json.loads(one_by_one.body) == {"status": "ok", "response": response}
    unknown = outcomes.unknown("no answer", 9)
    said = json.loads(unknown.body)
    assert (unknown.code, said["status"], said["nonce"]) == (504, "unknown", 9)
    assert outcomes.unavailable("gone").headers() == (("Retry-After", "1"),)


TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize(
    ("text", "known"),
    [
        (f"00-{TRACE}-b7ad6b7169203331-01", True),
        (f" 00-{TRACE}-b7ad6b7169203331-00\t", True),
        (f"cc-{TRACE}-b7ad6b7169203331-01-what-follows", True),
        (f"00-{TRACE}-b7ad6b7169203331-01-what-follows", False),
        (f"ff-{TRACE}-b7ad6b7169203331-01", False),
        (f"00-{'0' * 32}-b7ad6b7169203331-01", False),
        (f"00-{TRACE}-{'0' * 16}-01", False),
        (f"00-{TRACE.upper()}-b7ad6b7169203331-01", False),
        ("", False),
        (None, False),
    ],
)
def test_a_trace_is_continued_or_begun(text: str | None, known: bool) -> None:
    trace, other = continue_trace(text), continue_trace(text)
    assert (trace.trace_id == TRACE) == known
    assert (trace.parent_id == "b7ad6b7169203331") == known
    assert trace.span_id != other.span_id
    assert continue_trace(trace.traceparent).trace_id == trace.trace_id
    assert trace.flags == int(known and text is not None and "-01" in text)
