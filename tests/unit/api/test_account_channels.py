"""Account views: sent when they differ, as the info request has them, never of a wrong account."""

import json
from typing import Any

import pytest

from blocks import ALICE, BOB, PX, TOYOTA, bid, block, fill
from sidecar.api.channels import Channels
from sidecar.api.info import answer_info
from sidecar.api.messages import encode
from sidecar.errors import NotInSource, RequestInvalid, StateUnavailable
from sidecar.node.transitions import (
    AccountCheck,
    AgentApproved,
    LedgerChanged,
    MarketListed,
    PricesUpdated,
    Transition,
)
from sidecar.state.chain import ChainState

USER = "0x" + ALICE.hex()


class Feed:
    def __init__(self, **subscription: Any) -> None:
        self.state = ChainState(strict=False)
        self.state.apply(block(1, TOYOTA, PricesUpdated(((1, 100 * PX, 100 * PX),))))
        self.state.apply(block(2, LedgerChanged(ALICE, "deposit", 50 * PX)))
        self.channels = Channels(self.state)
        self.topic = self.channels.resolve(subscription)
        self.topic.channel.open(self.topic)

    def push(self, *transitions: Transition) -> list[Any]:
        changes = self.state.apply(block(self.state.height + 1, *transitions))
        return [json.loads(encode(message)) for _, message in self.channels.publish(changes)]

    def ask(self, **request: Any) -> Any:
        return json.loads(encode(answer_info(self.state, request)))


def test_clearinghouse_state_comes_when_it_differs() -> None:
    feed = Feed(type="clearinghouseState", user=USER.upper().replace("0X", "0x"))
    first = json.loads(encode(feed.channels.snapshot(feed.topic)))
    account = feed.ask(type="clearinghouseState", user=USER)
    assert first["data"] == {"dex": "", "user": USER, "clearinghouseState": account}
    assert account["marginSummary"]["accountValue"] == "50.0"
    assert feed.push(LedgerChanged(BOB, "deposit", 1)) == []
    assert feed.push(PricesUpdated(((1, 90 * PX, 90 * PX),))) == []  # it holds nothing
    (message,) = feed.push(LedgerChanged(ALICE, "deposit", PX))
    assert message["data"]["clearinghouseState"]["withdrawable"] == "51.0"


def test_a_wrong_account_is_not_shown_until_it_is_right() -> None:
    feed = Feed(type="clearinghouseState", user=USER)
    assert feed.push(AccountCheck(ALICE, 7, ())) == []
    assert feed.push(LedgerChanged(ALICE, "deposit", PX)) == []
    assert feed.channels.snapshot(feed.topic) is None
    with pytest.raises(StateUnavailable, match="is being rebuilt: the node checks account"):
        feed.ask(type="clearinghouseState", user=USER)
    assert feed.ask(type="clearinghouseState", user="0x" + BOB.hex())["withdrawable"] == "0.0"
    feed.state.adopt_account(feed.state.users.get(ALICE))
    assert feed.push(LedgerChanged(ALICE, "deposit", PX))


def test_active_asset_data() -> None:
    feed = Feed(type="activeAssetData", user=USER, coin="TOYOTA")
    assert feed.ask(type="activeAssetData", user=USER, coin="TOYOTA") == {
        "user": USER,
        "coin": "TOYOTA",
        "leverage": {"type": "cross", "value": 10},
        "maxTradeSzs": ["5.0", "5.0"],
        "availableToTrade": ["50.0", "50.0"],
        "markPx": "100.0",
    }
    (message,) = feed.push(PricesUpdated(((1, 200 * PX, 200 * PX),)))
    assert message["data"]["maxTradeSzs"] == ["2.5", "2.5"]
    assert feed.push(PricesUpdated(((1, 300 * PX, 200 * PX),))) == []


def test_web_data2_has_it_all_in_one() -> None:
    feed = Feed(type="webData2", user=USER)
    (message,) = feed.push(bid(7, 99), AgentApproved(ALICE, BOB, ""))
    data = message["data"]
    assert [order["oid"] for order in data["openOrders"]] == [7]
    assert data["clearinghouseState"] == feed.ask(type="clearinghouseState", user=USER)
    assert [data["meta"], data["assetCtxs"]] == feed.ask(type="metaAndAssetCtxs")
    assert (data["cumLedger"], data["agentAddress"]) == ("50.0", "0x" + BOB.hex())
    assert feed.push() == []


def test_roles_agents_fees_and_limits() -> None:
    feed = Feed(type="blocks")
    bot, old = b"\x01" * 20, b"\x02" * 20
    feed.push(AgentApproved(ALICE, bot, "bot", 10**18), AgentApproved(ALICE, old, "old", 1))
    agents = feed.ask(type="extraAgents", user=USER)
    assert agents == [{"name": "bot", "address": "0x" + bot.hex(), "validUntil": 10**12}]
    role = feed.ask(type="userRole", user="0x" + bot.hex())
    assert role == {"role": "agent", "data": {"user": USER}}
    assert feed.ask(type="userRole", user=USER) == {"role": "user"}
    assert feed.ask(type="userRole", user="0x" + old.hex()) == {"role": "missing"}
    assert feed.ask(type="userFees", user=USER)["userCrossRate"] == "0.00045"
    assert feed.ask(type="userRateLimit", user=USER)["cumVlm"] == "0.0"
    assert feed.ask(type="spotClearinghouseState", user=USER) == {"balances": []}
    assert feed.ask(type="liquidatable") == []


def test_who_is_below_maintenance_is_liquidatable() -> None:
    feed = Feed(type="blocks")
    feed.push(fill(1))  # ALICE buys one at 100 from BOB, who has nothing
    assert feed.ask(type="liquidatable") == ["0x" + BOB.hex()]
    feed.push(PricesUpdated(((1, 52 * PX, 52 * PX),)))  # 50 - 48 is below 52 / 20
    assert feed.ask(type="liquidatable") == ["0x" + BOB.hex()]  # once a second
    feed.state.time_ns = 2 * 10**9
    assert feed.ask(type="liquidatable") == [USER]
    feed.push(PricesUpdated(((1, 53 * PX, 53 * PX),)))
    feed.state.time_ns = 3 * 10**9
    assert feed.ask(type="liquidatable") == []


def test_addresses_are_checked_and_sources_without_accounts_say_so() -> None:
    feed = Feed(type="blocks")
    for user in ("0x12", "", "0x" + "g" * 40, "0x" + "é" * 40):
        with pytest.raises(RequestInvalid, match="user is an address"):
            feed.ask(type="clearinghouseState", user=user)
    blind = ChainState()
    blind.restore(5, 1, [])
    for kind in ("clearinghouseState", "webData2"):
        with pytest.raises(NotInSource, match="do not hold accounts"):
            Channels(blind).resolve({"type": kind, "user": USER})
    with pytest.raises(NotInSource):
        answer_info(blind, {"type": "liquidatable"})
    for kind in ("userRole", "extraAgents"):
        with pytest.raises(NotInSource):
            answer_info(blind, {"type": kind, "user": USER})


@pytest.mark.parametrize("channel", ["clearinghouseState", "activeAssetData", "webData2"])
def test_a_wrong_account_can_be_subscribed_to_and_left(channel: str) -> None:
    """It is shown once it is right. Found by fuzzing: it cost the connection."""
    feed = Feed(type=channel, user=USER, coin="TOYOTA")
    feed.push(AccountCheck(ALICE, 7, ()))
    assert feed.channels.resolve(feed.topic.subscription()) is feed.topic
    feed.topic.channel.close(feed.topic)
    topic = feed.channels.resolve(feed.topic.subscription())
    topic.channel.open(topic)
    assert feed.channels.snapshot(topic) is None
    feed.state.adopt_account(feed.state.users.get(ALICE))
    assert feed.channels.snapshot(topic) is not None


def test_a_market_without_rules_ends_web_data_and_nothing_else() -> None:
    feed = Feed(type="webData2", user=USER)
    deposit = LedgerChanged(ALICE, "deposit", PX)
    assert feed.push(deposit)
    assert feed.push(MarketListed(7, "BTC"), deposit) == []
