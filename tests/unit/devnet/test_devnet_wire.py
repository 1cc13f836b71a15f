"""What the official SDK signs is what the chain executes: every action, through the mempool."""

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount
from hyperliquid.exchange import Exchange as Client
from hyperliquid.utils.signing import (
    get_timestamp_ms,
    sign_l1_action,
)
from hyperliquid.utils.types import Cloid
from hypothesis import given
from hypothesis import strategies as st

from sidecar.devnet.chain import Chain
from sidecar.devnet.config import DevnetConfig
from sidecar.devnet.execution.markets import MARKETS
from sidecar.devnet.mempool import Mempool, admit
from sidecar.devnet.saved import restore, save
from sidecar.errors import PeerError
from sidecar.fixed import SCALE
from sidecar.node.block_records import encode_block
from sidecar.node.transitions import (
    AgentApproved,
    BookAdded,
    LedgerChanged,
    LeverageChanged,
    OrderStatus,
)

OFFLINE = {
    "meta": {
        "universe": [
            {"name": market.symbol, "szDecimals": market.sz_decimals} for market in MARKETS
        ]
    },
    "spot_meta": {"universe": [], "tokens": []},
}
TOYOTA, NTT = 0, 3
ORDER = {"a": 0, "b": True, "p": "2900", "s": "1", "r": False, "t": {"limit": {"tif": "Gtc"}}}
URL = "http://testnet.invalid"


class Desk:
    """A trader with the official client, whose posts go into the mempool of a quiet chain."""

    def __init__(self) -> None:
        self.chain = Chain(DevnetConfig(path="unused", actions_per_block=0, prices_blocks=1))
        self.mempool = Mempool(self.chain.exchange.markets)
        self.out: list[Any] = []
        self.answers: list[Any] = []
        for _ in range(8):  # genesis, then one maker after the other opens its ladders
            self.chain.step()
        self.clock = self.chain.time_ns // 1_000_000

    def client(self, wallet: LocalAccount, **where: Any) -> Client:
        client = Client(wallet, URL, **OFFLINE, **where)
        client.post = lambda _path, payload: self.post(payload)
        return client

    def post(self, payload: Any) -> Any:
        """Signed JSON into the mempool, a block, and the answer as the endpoint gives it."""
        answers: list[tuple[bool, int, Any]] = []
        self.mempool.accept(msgspec.json.encode(payload), lambda *answer: answers.append(answer))
        if not answers:
            self.block()
            answers.append(self.answers[0])
        ok, height, response = answers[0]
        assert height in (0, self.chain.height)
        return {"status": "ok" if ok else "err", "response": response}

    def block(self) -> None:
        """The next block, of everything that waits."""
        taken = self.mempool.take()
        block = self.chain.step([submitted for submitted, _ in taken])
        self.out = block.transitions
        self.answers = [(result.ok, block.height, result.response) for result in self.chain.results]
        self.chain.check_invariants()

    def said(self, kind: type[Any]) -> list[Any]:
        return [one for one in self.out if type(one) is kind]

    def faucet(self, wallet: LocalAccount, amount: str = "10000000") -> Any:
        action = {"type": "faucet", "amount": amount}
        return self.post(self.signed(wallet, action))

    def signed(
        self,
        wallet: LocalAccount,
        action: dict[str, Any],
        *,
        nonce: int | None = None,
        expires_after: int | None = None,
    ) -> dict[str, Any]:
        nonce = get_timestamp_ms() if nonce is None else nonce
        signature = sign_l1_action(wallet, action, None, nonce, expires_after, False)
        body = {"action": action, "nonce": nonce, "signature": signature}
        return body if expires_after is None else body | {"expiresAfter": expires_after}


@pytest.fixture(autouse=True)
def client_clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The client's clock is the chain's, and goes on by a millisecond whenever it is read."""
    now = [Chain(DevnetConfig(path="unused")).time_ns // 1_000_000]

    def tick() -> int:
        now[0] += 1
        return now[0]

    for module in ("hyperliquid.exchange", "hyperliquid.utils.signing", __name__):
        monkeypatch.setattr(f"{module}.get_timestamp_ms", tick)
    return now


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def wallet() -> LocalAccount:
    account: LocalAccount = Account.from_key("0x" + "11" * 32)
    return account


@pytest.fixture
def client(desk: Desk, wallet: LocalAccount) -> Client:
    assert desk.faucet(wallet) == {"status": "ok", "response": {"type": "default"}}
    return desk.client(wallet)


def statuses(answer: Any) -> Any:
    assert answer["status"] == "ok", answer
    return answer["response"]["data"]["statuses"]


def test_order_rests_and_is_cancelled_by_oid(desk: Desk, client: Client) -> None:
    (status,) = statuses(client.order("TOYOTA", True, 1.5, 2900.0, {"limit": {"tif": "Gtc"}}))
    oid = status["resting"]["oid"]
    (added,) = desk.said(BookAdded)
    assert (added.market, added.oid, added.px, added.sz) == (TOYOTA, oid, 2900 * SCALE, 150000000)
    assert statuses(client.cancel("TOYOTA", oid)) == ["success"]
    assert statuses(client.cancel("TOYOTA", oid)) == [
        {"error": "Order was never placed, already canceled, or filled."}
    ]


def test_orders_in_bulk_by_cloid(client: Client) -> None:
    cloids = [Cloid.from_int(7), Cloid.from_int(8)]
    orders = [
        {
            "coin": "NTT",
            "is_buy": True,
            "sz": 100,
            "limit_px": 150.0,
            "order_type": {"limit": {"tif": "Alo"}},
            "reduce_only": False,
            "cloid": cloid,
        }
        for cloid in cloids
    ]
    placed = statuses(client.bulk_orders(orders))
    assert [status["resting"]["cloid"] for status in placed] == [cloid.to_raw() for cloid in cloids]
    assert statuses(client.cancel_by_cloid("NTT", cloids[0])) == ["success"]
    assert statuses(
        client.bulk_cancel_by_cloid([{"coin": "NTT", "cloid": cloid} for cloid in cloids])
    ) == [{"error": "Order was never placed, already canceled, or filled."}, "success"]


def test_market_order_fills(desk: Desk, client: Client) -> None:
    (status,) = statuses(client.order("TOYOTA", True, 1.0, 3100.0, {"limit": {"tif": "Ioc"}}))
    assert status["filled"]["totalSz"] == "1.0"
    assert 2900 < float(status["filled"]["avgPx"]) < 3100
    (closed,) = statuses(
        client.order("TOYOTA", False, 5.0, 2900.0, {"limit": {"tif": "Ioc"}}, reduce_only=True)
    )
    assert closed["filled"]["totalSz"] == "1.0"  # clipped to the position


def test_refusals_say_why(client: Client) -> None:
    limit = {"limit": {"tif": "Gtc"}}
    assert statuses(client.order("TOYOTA", True, 1, 2900.05, limit)) == [
        {"error": "Price must be divisible by tick size."}
    ]
    assert statuses(client.order("TOYOTA", True, 0.1, 2900, limit)) == [
        {"error": "Order must have minimum value of 1000 JPY."}
    ]
    assert statuses(client.order("TOYOTA", True, 1_000_000, 2900, limit)) == [
        {"error": "Insufficient margin to place order."}
    ]
    assert statuses(client.order("TOYOTA", True, 1, 2900, limit, reduce_only=True)) == [
        {"error": "Reduce only order would increase position."}
    ]


def test_modify_by_oid_and_by_cloid(client: Client) -> None:
    limit = {"limit": {"tif": "Gtc"}}
    cloid = Cloid.from_int(1)
    (status,) = statuses(client.order("SONY", True, 1, 3900, limit, cloid=cloid))
    oid = status["resting"]["oid"]
    (modified,) = statuses(client.modify_order(oid, "SONY", True, 2, 3890, limit, cloid=cloid))
    assert modified["resting"]["oid"] > oid
    (again,) = statuses(client.modify_order(cloid, "SONY", True, 2, 3880, limit, cloid=cloid))
    assert again["resting"]["oid"] > modified["resting"]["oid"]
    assert statuses(client.modify_order(oid, "SONY", True, 2, 3880, limit)) == [
        {"error": "Cannot modify canceled or filled order"}
    ]


def test_modify_of_one_answers_default(desk: Desk, client: Client, wallet: LocalAccount) -> None:
    (status,) = statuses(client.order("SONY", True, 1, 3900, {"limit": {"tif": "Gtc"}}))
    order = {"a": 1, "b": True, "p": "3890", "s": "1", "r": False, "t": {"limit": {"tif": "Alo"}}}
    modify = {"type": "modify", "oid": status["resting"]["oid"], "order": order}
    assert desk.post(desk.signed(wallet, modify)) == {
        "status": "ok",
        "response": {"type": "default"},
    }
    assert desk.post(desk.signed(wallet, modify)) == {
        "status": "err",
        "response": "Cannot modify canceled or filled order",
    }


def test_take_profit_and_stop_of_an_order(desk: Desk, client: Client) -> None:
    def order(is_buy: bool, px: float, kind: Any, *, reduce_only: bool) -> dict[str, Any]:
        return {
            "coin": "TOYOTA",
            "is_buy": is_buy,
            "sz": 1,
            "limit_px": px,
            "order_type": kind,
            "reduce_only": reduce_only,
        }

    stop = {"trigger": {"isMarket": True, "triggerPx": 2800.0, "tpsl": "sl"}}
    profit = {"trigger": {"isMarket": False, "triggerPx": 3300.0, "tpsl": "tp"}}
    bracket = [
        order(True, 2950, {"limit": {"tif": "Gtc"}}, reduce_only=False),
        order(False, 3300, profit, reduce_only=True),
        order(False, 2700, stop, reduce_only=True),
    ]
    parent, *children = statuses(client.bulk_orders(bracket, grouping="normalTpsl"))
    assert "resting" in parent
    assert children == ["waitingForFill", "waitingForFill"]
    assert [one.status for one in desk.said(OrderStatus)] == ["open"]  # the children's come later


def test_schedule_cancel(desk: Desk, client: Client) -> None:
    at = desk.chain.time_ns // 1_000_000 + 6_000
    assert client.schedule_cancel(at)["status"] == "ok"
    assert client.schedule_cancel(None)["status"] == "ok"
    early = client.schedule_cancel(desk.chain.time_ns // 1_000_000 + 1_000)
    assert early["status"] == "err"
    assert "at least 5 seconds" in early["response"]


def test_leverage_and_isolated_margin(desk: Desk, client: Client) -> None:
    assert client.update_leverage(10, "MUFG", is_cross=False)["status"] == "ok"
    (changed,) = desk.said(LeverageChanged)
    assert (changed.leverage, changed.is_cross) == (10, False)
    statuses(client.order("MUFG", True, 10, 2500, {"limit": {"tif": "Ioc"}}))
    opened = desk.said(LeverageChanged)[-1]
    assert opened.isolated_margin > 0
    assert client.update_isolated_margin(1000.0, "MUFG")["status"] == "ok"
    (more,) = desk.said(LeverageChanged)
    assert more.isolated_margin == opened.isolated_margin + 1000 * SCALE
    assert client.update_leverage(26, "MUFG", is_cross=False) == {
        "status": "err",
        "response": "Invalid leverage value. MUFG takes 1 to 25.",
    }


def test_agent_trades_for_its_account(desk: Desk, client: Client, wallet: LocalAccount) -> None:
    answer, key = client.approve_agent("desk")
    assert answer["status"] == "ok"
    agent = Account.from_key(key)
    (approved,) = desk.said(AgentApproved)
    assert (approved.name, approved.agent.hex()) == ("desk", agent.address[2:].lower())
    by_agent = desk.client(agent, account_address=wallet.address)
    statuses(by_agent.order("TOYOTA", True, 1, 2900, {"limit": {"tif": "Gtc"}}))
    (added,) = desk.said(BookAdded)
    assert added.user.hex() == wallet.address[2:].lower()
    refused = by_agent.usd_transfer(5, "0x" + "22" * 20)  # its owner's own key has to sign that
    assert refused["response"] == (
        f"Must deposit before performing actions. User: {agent.address.lower()}"
    )


def test_money_moves(desk: Desk, client: Client) -> None:
    friend = "0x" + "22" * 20
    assert client.usd_transfer(12.5, friend)["status"] == "ok"
    sent, received = desk.said(LedgerChanged)
    assert (sent.amount, received.amount) == (-1250000000, 1250000000)
    assert received.user.hex() == friend[2:]
    assert client.usd_transfer(1e9, friend) == {
        "status": "err",
        "response": "Insufficient balance for transfer.",
    }


def test_noop_uses_its_nonce_up(desk: Desk, client: Client) -> None:
    nonce = desk.clock + 1
    assert client.noop(nonce)["status"] == "ok"
    again = client.noop(nonce)
    assert again == {"status": "err", "response": f"Invalid nonce: duplicate nonce {nonce}."}


def test_action_expires(desk: Desk, client: Client) -> None:
    now = desk.chain.time_ns // 1_000_000
    client.set_expires_after(now - 1)
    late = client.order("TOYOTA", True, 1, 2900, {"limit": {"tif": "Gtc"}})
    assert late == {
        "status": "err",
        "response": f"Action expired: expiresAfter {now - 1} is over.",
    }
    client.set_expires_after(now + 60_000)
    statuses(client.order("TOYOTA", True, 1, 2900, {"limit": {"tif": "Gtc"}}))


def test_a_full_mempool_refuses_at_once(
    desk: Desk, client: Client, wallet: LocalAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.devnet.mempool.DEVNET_MEMPOOL_ACTIONS_MAX", 1)
    body = msgspec.json.encode(desk.signed(wallet, {"type": "noop"}))
    answers: list[Any] = []
    for _ in range(2):
        desk.mempool.accept(body, lambda *answer: answers.append(answer))
    assert answers == [(False, 0, "The mempool is full; try again.")]
    desk.block()
    assert desk.answers == [(True, desk.chain.height, {"type": "default"})]


def test_bodies_that_would_not_fit_one_record_wait_outside(
    desk: Desk, client: Client, wallet: LocalAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = msgspec.json.encode(desk.signed(wallet, {"type": "noop"}))
    monkeypatch.setattr("sidecar.devnet.mempool.DEVNET_MEMPOOL_BYTES_MAX", len(body))
    answers: list[Any] = []
    for _ in range(2):
        desk.mempool.accept(body, lambda *answer: answers.append(answer))
    assert answers == [(False, 0, "The mempool is full; try again.")]
    desk.block()
    desk.mempool.accept(body, lambda *answer: answers.append(answer))
    assert len(answers) == 1  # there is room again


def test_a_cloid_used_twice_survives_a_restart(desk: Desk, client: Client) -> None:
    """Of A and B with one cloid B is meant; once B is gone, none: also after a restore."""
    cloid, gtc = Cloid.from_int(7), {"limit": {"tif": "Gtc"}}
    for px in (2900, 2890):
        (status,) = statuses(client.order("TOYOTA", True, 1, px, gtc, cloid=cloid))
    client.cancel("TOYOTA", status["resting"]["oid"])
    other = Chain(desk.chain.config)
    restore(other, save(desk.chain))
    assert other.exchange.matching.open.cloids == desk.chain.exchange.matching.open.cloids


def test_the_same_actions_make_the_same_bytes(wallet: LocalAccount) -> None:
    """Whoever executes them: the actions and the seed are all that goes in."""
    first, second = Desk(), Desk()
    bodies = [
        msgspec.json.encode(first.signed(wallet, action))
        for action in (
            {"type": "faucet", "amount": "1000"},
            {"type": "order", "orders": [ORDER], "grouping": "na"},
        )
    ]
    markets = first.chain.exchange.markets
    made = [
        encode_block(desk.chain.step([admit(body, markets) for body in bodies]))
        for desk in (first, second)
    ]
    assert made[0] == made[1]
    assert [result.ok for result in first.chain.results] == [True, True]


def test_strangers_must_deposit(desk: Desk) -> None:
    stranger = Account.from_key("0x" + "33" * 32)
    answer = desk.client(stranger).order("TOYOTA", True, 1, 2900, {"limit": {"tif": "Gtc"}})
    assert answer["response"] == (
        f"Must deposit before performing actions. User: {stranger.address.lower()}"
    )


def test_vaults_are_unknown(desk: Desk, wallet: LocalAccount) -> None:
    vault = "0x" + "44" * 20
    answer = desk.client(wallet, vault_address=vault).noop(desk.clock)
    assert answer == {"status": "err", "response": f"Vault not registered: {vault}"}


def test_cancels_go_before_takers_and_post_only_before_both(
    desk: Desk, client: Client, wallet: LocalAccount
) -> None:
    (rests,) = statuses(client.order("TOYOTA", True, 1, 2900, {"limit": {"tif": "Gtc"}}))
    order = {"a": 0, "b": True, "p": "2890", "s": "1", "r": False}
    taker = {"type": "order", "orders": [order | {"t": {"limit": {"tif": "Ioc"}}}]}
    poster = {"type": "order", "orders": [order | {"t": {"limit": {"tif": "Alo"}}}]}
    cancel = {"type": "cancel", "cancels": [{"a": 0, "o": rests["resting"]["oid"]}]}
    for action in (taker, cancel, poster):
        body = desk.signed(wallet, action | ({"grouping": "na"} if "orders" in action else {}))
        desk.mempool.accept(msgspec.json.encode(body), lambda *_: None)
    desk.block()
    assert [(one.status, one.tif) for one in desk.said(OrderStatus)] == [
        ("open", "Alo"),
        ("canceled", "Gtc"),
        ("iocCancelRejected", "Ioc"),
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"type": "unknown"}, "Invalid value 'unknown'"),
        ({"orders": []}, "length >= 1"),
        ({"grouping": "other"}, "$.grouping"),
        ({"orders": [{"a": 9}]}, "missing required field"),
    ],
)
def test_nonsense_is_refused_before_any_block(
    desk: Desk, wallet: LocalAccount, change: dict[str, Any], message: str
) -> None:
    height = desk.chain.height
    action = {"type": "order", "orders": [ORDER], "grouping": "na"} | change
    answer = desk.post(desk.signed(wallet, action))
    assert answer["status"] == "err"
    assert message in answer["response"]
    assert desk.chain.height == height


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("a", 5, "asset 5 is not listed"),
        ("p", "1e3", "not a decimal number"),
        ("p", "0.000000001", "more than 8 decimals"),
        ("s", "-1", "out of range"),
        ("s", "1" * 30, "out of range"),
        ("t", {}, "either `limit` or `trigger`"),
        ("c", "0x12", "$.orders[0].c"),
        ("b", 1, "$.orders[0].b"),
    ],
)
def test_message_names_the_field(
    desk: Desk, wallet: LocalAccount, field: str, value: Any, message: str
) -> None:
    action = {"type": "order", "orders": [ORDER | {field: value}], "grouping": "na"}
    answer = desk.post(desk.signed(wallet, action))
    assert answer["status"] == "err"
    assert message in answer["response"]


def test_faucet_has_a_bound(desk: Desk, wallet: LocalAccount) -> None:
    assert "up to 100000000 JPY" in desk.faucet(wallet, "100000001")["response"]
    assert desk.faucet(wallet, "100000000")["status"] == "ok"
    assert desk.said(LedgerChanged)[0].amount == 100_000_000 * SCALE


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from("abpsrtco"), inner, max_size=4)
    ),
    max_leaves=12,
)
KINDS = st.sampled_from(
    ["order", "cancel", "modify", "batchModify", "usdSend", "faucet", "approveAgent", "noop"]
)


@given(KINDS, st.dictionaries(st.sampled_from(["orders", "cancels", "oid", "order"]), JSON))
def test_any_json_is_refused_in_words(kind: str, fields: dict[str, Any]) -> None:
    body = {
        "action": {"type": kind} | fields,
        "nonce": 1,
        "signature": {"r": "0x1", "s": "0x1", "v": 27},
    }
    with suppress(PeerError):  # anything else is a bug
        admit(msgspec.json.encode(body), {market.id: market for market in MARKETS})
