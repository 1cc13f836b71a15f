"""Buckets, what was sent of late, what is on its way, outcomes, trace contexts: small and pure."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.api.messages import encode
from sidecar.api.orders import outcomes
from sidecar.api.orders.buckets import Buckets
from sidecar.api.orders.by_height import ByHeight
from sidecar.api.orders.outcomes import Outcome
from sidecar.api.orders.sent import SentAction, SentActions, Unsettled
from sidecar.errors import Limited, NotAdmitted, SignatureInvalid
from sidecar.limits import BUCKETS_KEPT, SENT_ACTIONS_KEPT, SUBMIT_LATE_S
from sidecar.server.adrift import Adrift
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


def test_what_nobody_can_refuse_is_owed() -> None:
    """As much as a bucket holds; then it fills as ever, and cancels are as free as before."""
    buckets = Buckets(RATE, BURST, "account")
    buckets.charge(b"a", 1, 0.0)
    assert buckets.left(b"a", 0.0) == BURST - 1
    for _ in range(100):
        buckets.charge(b"a", 3, 0.0)
    assert buckets.left(b"a", 0.0) == 0
    with pytest.raises(Limited) as caught:
        buckets.take(b"a", 1, 0.0)
    assert caught.value.retry_after_s == (BURST + 1) / RATE
    buckets.take(b"a", 1, 0.0, cancel=True)
    buckets.take(b"a", 1, (BURST + 1) / RATE)


def test_buckets_are_bounded() -> None:
    buckets = Buckets(RATE, BURST, "address")
    for number in range(BUCKETS_KEPT + 10):
        buckets.take(number, 1, 0.0)
    assert len(buckets) <= BUCKETS_KEPT
    for number in range(BUCKETS_KEPT):
        buckets.take(-1 - number, 1, 1e6)  # those of before are full again
    assert len(buckets) <= BUCKETS_KEPT


KEY = (b"signer", 1)


OK, NO, WHO_KNOWS = outcomes.executed("x", 7), outcomes.refused("no", 7), outcomes.unknown("?", 1)


def test_the_same_action_is_found_until_it_is_forgotten() -> None:
    actions, told = SentActions(kept=2, bytes_max=1 << 20), list[Outcome]()
    assert actions.find(KEY, b"digest") is None
    sent = SentAction(b"digest")
    actions.send(KEY, sent)
    again = actions.find(KEY, b"digest")
    assert again is sent
    again.ask(told.append)
    for number in range(2, 10):  # what is on its way stays, whatever comes
        other = SentAction(b"o")
        actions.send((b"signer", number), other)
        actions.over((b"signer", number), other, OK)
    assert len(actions) == 3
    actions.over(KEY, sent, NO)
    assert told == [NO]
    sent.ask(told.append)
    assert len(told) == 2
    actions.forget(KEY, sent, NO)
    assert actions.find(KEY, b"digest") is None


def test_a_nonce_is_taken_where_that_is_known() -> None:
    """On its way, or executed; of refused and lost ones the chain alone knows."""
    actions, sent = SentActions(kept=2, bytes_max=1 << 20), SentAction(b"digest")
    actions.send(KEY, sent)
    with pytest.raises(NotAdmitted, match="duplicate nonce 1"):
        actions.find(KEY, b"other")
    assert actions.find(KEY, b"other", refuse=False) is None
    for outcome in (WHO_KNOWS, NO):
        actions.over(KEY, sent, outcome)
        assert actions.find(KEY, b"other") is None
    actions.over(KEY, sent, OK)
    with pytest.raises(NotAdmitted, match="duplicate nonce 1"):
        actions.find(KEY, b"other")


@given(
    st.lists(
        st.tuples(st.sampled_from(("send", "over", "forget")), st.integers(0, 3)), max_size=80
    ),
    st.lists(st.integers(1, 60), min_size=80, max_size=80),
)
def test_answers_are_bounded_in_bytes(steps: list[tuple[str, int]], sizes: list[int]) -> None:
    """However often they are told anew: what is kept is counted right."""
    actions, newest, fits = SentActions(kept=100, bytes_max=150), dict[int, SentAction](), 150
    for (what, number), size in zip(steps, sizes, strict=False):
        key, outcome = (b"signer", number), outcomes.refused("x" * size)
        sent = newest.get(number)
        if what == "send" or sent is None:
            newest[number] = SentAction(b"%d" % size)
            actions.send(key, newest[number])
        elif what == "over":
            actions.over(key, sent, outcome)
        else:
            actions.forget(key, sent, outcome)
            del newest[number]
        kept = [one for one in newest.items() if actions.find((b"signer", one[0]), one[1].digest)]
        answered = [one.outcome.body for _, one in kept if one.outcome is not None]
        assert sum(map(len, answered)) == actions._bytes <= fits


def test_long_answers_take_the_place_of_older_ones() -> None:
    actions, outcome = SentActions(kept=100, bytes_max=2_500), outcomes.refused("x" * 1_000)
    for nonce in range(4):
        sent = SentAction(b"digest")
        actions.send((b"signer", nonce), sent)
        actions.over((b"signer", nonce), sent, outcome)
    found = [actions.find((b"signer", nonce), b"digest") is not None for nonce in range(4)]
    assert found == [False, False, True, True]


def test_what_is_on_its_way_is_not_settled() -> None:
    unsettled = Unsettled(height=3)
    unsettled.add((b"a", b"b"))
    unsettled.add((b"a",))
    unsettled.settle(5, (b"a", b"b"))
    unsettled.applied(4)
    assert b"b" in unsettled
    unsettled.applied(5)
    assert (b"a" in unsettled, b"b" in unsettled) == (True, False)
    unsettled.settle(0, (b"a",))
    assert b"a" not in unsettled


def test_none_waits_behind_one_that_comes_later() -> None:
    unsettled = Unsettled()
    for height, address in ((9, b"a"), (5, b"b"), (7, b"c"), (5, b"d")):
        unsettled.add((address,))
        unsettled.settle(height, (address,))
    unsettled.applied(5)
    assert [one in unsettled for one in (b"a", b"b", b"c", b"d")] == [True, False, True, False]
    unsettled.applied(8)
    assert [one in unsettled for one in (b"a", b"c")] == [True, False]


def test_what_waits_for_blocks_is_bounded() -> None:
    """The feed stands still while the chain goes on."""
    unsettled = Unsettled()
    for height in range(1, SENT_ACTIONS_KEPT + 2):
        unsettled.add((b"%d" % height,))
        unsettled.settle(height, (b"%d" % height,))
    assert b"1" not in unsettled
    assert b"2" in unsettled


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=50))
def test_by_height_gives_the_lowest_first_and_of_one_height_in_order(
    steps: list[tuple[bool, int]],
) -> None:
    waiting, model = ByHeight[int](), list[tuple[int, int]]()
    for number, (add, height) in enumerate(steps):
        if add:
            waiting.add(height, number)
            model = sorted([*model, (height, number)])
        else:
            due = [one for one in model if one[0] <= height]
            assert waiting.take_up_to(height) == [thing for _, thing in due]
            model = model[len(due) :]
        assert len(waiting) == len(model)
    assert [waiting.take() for _ in model] == [thing for _, thing in model]


def test_what_is_adrift_is_given_up_or_found() -> None:
    adrift = Adrift()
    for number in range(3):
        adrift.add(number, (b"%d" % number,), float(number))
    assert adrift.found(1) == (b"1",)
    assert adrift.found(1) is None
    assert adrift.given_up(SUBMIT_LATE_S - 0.1) == []
    assert adrift.given_up(SUBMIT_LATE_S + 1) == [(b"0",)]
    assert adrift.given_up(SUBMIT_LATE_S + 2) == [(b"2",)]
    assert not adrift


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
