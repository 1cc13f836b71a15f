"""The doorman against the chain: what it turns away the chain would refuse, in the same words; what
its rules know of, it does not let through.
"""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from account_case import crash_chain
from sidecar.api.orders.admission import Action, Admission, read_action
from sidecar.api.orders.signing import Signature, SignedAction
from sidecar.devnet.chain import Chain
from sidecar.devnet.execution.actions import Deposit, Place, UpdateLeverage
from sidecar.devnet.execution.markets import MARKETS
from sidecar.devnet.execution.orders import IOC
from sidecar.devnet.execution.refusals import ActionRefused, Refusal
from sidecar.devnet.mempool import Result, Submitted
from sidecar.devnet.wire.reading import read_action as chain_reads
from sidecar.errors import NotAdmitted
from sidecar.fixed import SCALE
from sidecar.node.block_records import decode_block, encode_block
from sidecar.node.transitions import ASK, BID
from sidecar.settings import ORDER_RULES
from sidecar.state.chain import ChainState
from sidecar.state.faults import Fault
from sidecar.state.health import Bounds, Health

RICH, POOR, ISOLATED, NOBODY = (bytes([number]) * 20 for number in (1, 2, 3, 4))
NO_SIGNATURE = Signature("0x1", "0x1", 27)
ITS_OWN = {  # what only the chain knows of an order
    Refusal.POST_ONLY.message.partition("{")[0],
    Refusal.IMMEDIATE.message,
    Refusal.NO_LIQUIDITY.message,
    Refusal.TRIGGER_PX.message,
    Refusal.NO_ORDER.message,
    Refusal.NOT_MODIFIABLE.message,
}


def read(signed: SignedAction) -> Action:
    return read_action(signed, msgspec.json.encode({"action": signed.action}))


class Beside:
    """A busy chain, and what a doorman beside it says of the next block's action."""

    def __init__(self) -> None:
        self.chain = crash_chain()
        self.state = ChainState()
        for _ in range(30):
            self.step()
        execute = self.chain.exchange.execute
        self.chain.exchange.begin_block(self.chain.height, self.chain.time_ns)
        out = self.chain.exchange.tape.out
        for user, yen in ((RICH, 40_000_000), (POOR, 30_000), (ISOLATED, 900_000)):
            execute(Deposit(user, yen * SCALE))
        execute(UpdateLeverage(ISOLATED, 0, 5, is_cross=False))
        for user, side, lots in (
            (RICH, BID, 50),
            (RICH, ASK, 7),
            (ISOLATED, ASK, 20),
            (POOR, 0, 3),
        ):
            for market in (0, 1):
                oracle = self.chain.exchange.entry.oracles[market]
                px = oracle * (6 if side == BID else 4) // 5 // SCALE * SCALE
                execute(Place(user, market, side, px, lots * SCALE, IOC, None, False, None))
        block = self.step_with(out)
        assert len(self.state.users.get(RICH).positions) == 2
        assert block

    def step(self, *submitted: Submitted) -> list[Result]:
        self.state.apply(decode_block(encode_block(self.chain.step(submitted))))
        return self.chain.results

    def step_with(self, before: list[Any]) -> bool:
        """A block that also says what was done by hand since the last one."""
        block = self.chain.step()
        both = msgspec.structs.replace(block, transitions=[*before, *block.transitions])
        self.state.apply(decode_block(encode_block(both)))
        return bool(before)

    def quiet(self) -> None:
        """Until the next block brings no new prices."""
        while self.chain.height % self.chain.config.prices_blocks == 0:
            self.step()
        health = self.state.health = Health(self.state, Bounds(1 << 62, 1 << 62))
        health.note_block(0, self.state.time_ns, self.state.time_ns)

    def verdicts(
        self, user: bytes, action: dict[str, Any], off: tuple[str, ...] = (), **envelope: Any
    ) -> tuple[NotAdmitted | None, Result]:
        """The doorman's and the chain's."""
        self.quiet()
        fields = {"nonce": self.state.time_ns // 1_000_000} | envelope
        signed = SignedAction(action, signature=NO_SIGNATURE, **fields)
        said = None
        try:
            admission = Admission(self.state, frozenset(off), lambda _: False)
            admission.check(read(signed), user)
        except NotAdmitted as error:
            said = error
        try:
            order = chain_reads(action, self.chain.exchange.markets)
        except ActionRefused as error:
            return said, Result(ok=False, response=str(error))
        (result,) = self.step(Submitted(b"", signed, user, order))
        return said, result


@pytest.fixture(scope="module")
def beside() -> Beside:
    return Beside()


def chains_words(result: Result) -> list[str] | None:
    """The refusals of an answer; None where something came of it."""
    if isinstance(result.response, str):
        return [result.response]
    statuses = result.response.get("data", {}).get("statuses", ["success"])
    errors = [one["error"] for one in statuses if isinstance(one, dict) and "error" in one]
    return errors if len(errors) == len(statuses) else None


def doormans_words(said: NotAdmitted) -> list[str]:
    if said.response is None:
        return [str(said)]
    return [one["error"] for one in said.response["data"]["statuses"]]


def same(mine: str, chains: str) -> bool:
    """The doorman may name the next reason where only the chain knows the first."""
    return mine == chains or any(chains.startswith(one) for one in ITS_OWN)


prices = st.sampled_from([0, 100, 1, 97, 103, 9, 500, 90, 110])
sizes = st.sampled_from(["0", "0.001", "0.25", "3", "10", "70", "2000", "9" * 30])


@st.composite
def orders(draw: st.DrawFn) -> tuple[dict[str, Any], int]:
    """An order, and its price in percent of the oracle's."""
    limit: dict[str, Any] = {"limit": {"tif": draw(st.sampled_from(["Gtc", "Ioc", "Alo"]))}}
    tpsl = {"triggerPx": "", "isMarket": draw(st.booleans()), "tpsl": draw(st.sampled_from(["tp"]))}
    kind = draw(st.sampled_from([limit, limit, {"trigger": tpsl}]))
    order = {
        "a": draw(st.sampled_from([0, 0, 1, 3, 7])),
        "b": draw(st.booleans()),
        "p": draw(st.sampled_from(["", "", "", "0.001", "x", "-1", "1e5"])),
        "s": draw(sizes),
        "r": draw(st.booleans()),
        "t": kind,
    }
    return order, draw(prices)


def at(chain: Chain, order: dict[str, Any], percent: int) -> dict[str, Any]:
    """The order at a price of now, on the tick but for odd percentages."""
    oracle = chain.exchange.entry.oracles.get(order["a"], SCALE)
    px = oracle * percent // 100 // SCALE
    text = order["p"] or (f"{px}.123" if percent == 97 else f"{px}")
    kind = order["t"]
    if "trigger" in kind:
        kind = {"trigger": kind["trigger"] | {"triggerPx": text}}
    return order | {"p": text, "t": kind}


users = st.sampled_from([RICH, RICH, POOR, ISOLATED, NOBODY])


@settings(max_examples=400)
@given(user=users, asked=orders())
def test_one_order(beside: Beside, user: bytes, asked: tuple[dict[str, Any], int]) -> None:
    beside.quiet()
    order = at(beside.chain, *asked)
    action = {"type": "order", "orders": [order], "grouping": "na"}
    said, result = beside.verdicts(user, action)
    words = chains_words(result)
    if said is not None:
        assert words is not None, f"the chain takes what was refused: {said}"
        assert same(doormans_words(said)[0], words[0])
    elif words is not None:
        starved = words[0] == Refusal.MARGIN.message and order["t"].get("limit")
        assert starved or any(words[0].startswith(one) for one in ITS_OWN), words


@settings(max_examples=150)
@given(
    user=users,
    asked=st.lists(orders(), min_size=1, max_size=3),
    grouping=st.sampled_from(["na", "normalTpsl", "positionTpsl"]),
)
def test_several_orders_are_refused_only_together(
    beside: Beside, user: bytes, asked: list[tuple[dict[str, Any], int]], grouping: str
) -> None:
    beside.quiet()
    made = [at(beside.chain, *one) for one in asked]
    action = {"type": "order", "orders": made, "grouping": grouping}
    said, result = beside.verdicts(user, action)
    if said is not None:
        words = chains_words(result)
        assert words is not None, f"the chain takes what was refused: {said}"
        mine = doormans_words(said)
        assert len(mine) == len(words)
        assert all(same(one, other) for one, other in zip(mine, words, strict=True))


DAY = 24 * 60 * 60 * 1000
CANCEL = {"type": "cancel", "cancels": [{"a": 9, "o": 1}]}
BY_CLOID = {"type": "cancelByCloid", "cancels": [{"asset": 9, "cloid": "0x" + "00" * 16}]}


@pytest.mark.parametrize(
    ("action", "envelope", "rule"),
    [
        ({"type": "noop"}, {"nonce": 0}, "nonce"),
        ({"type": "noop"}, {"nonce": 1 << 62}, "nonce"),
        ({"type": "noop"}, {"expires_after": 5}, "expiry"),
        (CANCEL, {}, "market"),
        (BY_CLOID, {}, "market"),
        ({"type": "updateLeverage", "asset": 9, "isCross": True, "leverage": 2}, {}, "market"),
        ({"type": "updateIsolatedMargin", "asset": 9, "isBuy": True, "ntli": 1}, {}, "market"),
        ({"type": "cancel", "cancels": []}, {}, "schema"),
        ({"type": "teleport"}, {}, "schema"),
        ({"type": "cancel", "cancels": [{"a": "0", "o": 1}]}, {}, "schema"),
    ],
)
def test_whole_actions(
    beside: Beside, action: dict[str, Any], envelope: dict[str, Any], rule: str
) -> None:
    said, result = beside.verdicts(RICH, action, **envelope)
    assert said is not None
    (words,) = chains_words(result) or [""]
    mine = str(said)
    if rule == "nonce":  # each names the time of its own block
        mine, words = mine.rpartition(" ")[0], words.rpartition(" ")[0]
    assert (said.rule, mine) == (rule, words)


def test_the_words_of_a_vault() -> None:
    signed = SignedAction({"type": "noop"}, 1, NO_SIGNATURE, vault_address="0x" + "11" * 20)
    with pytest.raises(NotAdmitted, match="Vault not registered: 0x1111"):
        read(signed)


def refusals_without(
    beside: Beside, user: bytes, order: dict[str, Any], *off: str
) -> tuple[str | None, Result]:
    action = {"type": "order", "orders": [order], "grouping": "na"}
    said, result = beside.verdicts(user, action, off)
    return None if said is None else said.rule, result


@pytest.mark.parametrize(
    ("rule", "user", "changes", "percent"),
    [
        ("tick", RICH, {}, 97),
        ("lot", RICH, {"s": "10.001"}, 100),
        ("notional", RICH, {"s": "0.25"}, 90),
        ("reduce_only", NOBODY, {"r": True}, 90),
        ("band", RICH, {}, 9),
        ("margin", POOR, {"s": "2000"}, 90),
        ("market", RICH, {"a": 9}, 90),
        ("account", NOBODY, {}, 90),
    ],
)
def test_each_rule_can_be_switched_off(
    beside: Beside, rule: str, user: bytes, changes: dict[str, Any], percent: int
) -> None:
    """Then the chain says it."""
    plain = {"a": 0, "b": True, "p": "", "s": "10", "r": False, "t": {"limit": {"tif": "Gtc"}}}
    order = at(beside.chain, plain | changes, percent)
    others = ("account",) if rule == "reduce_only" else ()
    assert rule in ORDER_RULES
    assert refusals_without(beside, user, order, *others)[0] == rule
    all_off = ("account", "margin", rule)
    said, result = refusals_without(beside, user, order, *all_off)
    assert said is None
    assert chains_words(result) is not None


def check(beside: Beside, user: bytes, **changes: Any) -> str | None:
    """What the doorman says of a far too large order, in the state as it is."""
    admission = Admission(beside.state, frozenset(), changes.pop("on_its_way", lambda _: False))
    plain = {"a": 0, "b": True, "p": "3000", "s": "90000", "r": False}
    order = plain | {"t": {"limit": {"tif": "Gtc"}}} | changes
    action = {"type": "order", "orders": [order], "grouping": "na"}
    signed = SignedAction(action, beside.state.time_ns // 1_000_000, NO_SIGNATURE)
    try:
        admission.check(read(signed), user)
    except NotAdmitted as error:
        return error.rule
    return None


def test_it_does_not_refuse_out_of_ignorance(beside: Beside) -> None:
    """Something of the account is on its way, the feed is late, a book is being rebuilt."""
    beside.quiet()
    state = beside.state
    assert check(beside, POOR) == "margin"
    assert check(beside, POOR, on_its_way=lambda address: address == POOR) is None
    assert check(beside, NOBODY) == "account"
    assert check(beside, NOBODY, on_its_way=lambda address: address == NOBODY) is None
    assert check(beside, POOR, p="3000.01", on_its_way=lambda _: True) == "tick"
    state.faults.accounts[POOR] = Fault(state.height, "wrong")
    assert check(beside, POOR) is None
    del state.faults.accounts[POOR]
    state.markets[0].fault = Fault(state.height, "wrong")
    assert check(beside, POOR) is None
    state.markets[0].fault = None
    assert state.health is not None
    state.health.break_feed("gap", "a hole")
    assert check(beside, POOR) is None
    assert check(beside, NOBODY) is None
    assert check(beside, POOR, p="3000.01") == "tick"
    state.health.mend_feed()


def test_markets_are_the_chains(beside: Beside) -> None:
    """What the rules take from the listing is what the chain lists."""
    assert {market.id for market in MARKETS} == set(beside.state.markets)
