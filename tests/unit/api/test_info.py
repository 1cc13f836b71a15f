"""Info requests: the exact answers, and what is said to bad ones."""

from typing import Any

import msgspec
import pytest

from blocks import ask, bid, fill, state_of
from sidecar.api.info import answer_info
from sidecar.api.messages import encode
from sidecar.errors import RequestInvalid
from sidecar.node.transitions import MarketListed, Transition
from sidecar.state.chain import ChainState


def ask_info(state: ChainState, **request: Any) -> Any:
    return msgspec.json.decode(encode(answer_info(state, request)))


def test_meta_lists_markets_in_asset_order() -> None:
    assert ask_info(state_of(), type="meta", dex="") == {
        "universe": [
            {"name": "TOYOTA", "szDecimals": 2, "maxLeverage": 10, "marginTableId": 10},
            {
                "name": "SONY",
                "szDecimals": 3,
                "maxLeverage": 20,
                "marginTableId": 20,
                "onlyIsolated": True,
            },
        ],
        "marginTables": [
            [
                leverage,
                {
                    "description": "",
                    "marginTiers": [{"lowerBound": "0.0", "maxLeverage": leverage}],
                },
            ]
            for leverage in (10, 20)
        ],
    }


@pytest.mark.parametrize(
    ("listing", "request_type"),
    [(MarketListed(3, "BTC"), "meta"), (MarketListed(3, "@107"), "spotMeta")],
)
def test_rules_that_the_node_does_not_write_are_not_made_up(
    listing: Transition, request_type: str
) -> None:
    with pytest.raises(RequestInvalid, match=f"do not carry the rules of .*{request_type} is not"):
        ask_info(state_of(listing), type=request_type)


def test_small_answers() -> None:
    state = state_of(bid(1, 100), ask(2, 101))
    assert ask_info(state, type="spotMeta") == {"universe": [], "tokens": []}
    assert ask_info(state, type="perpDexs") == [None]
    assert ask_info(state, type="allMids") == {"TOYOTA": "100.5"}
    assert ask_info(state, type="exchangeStatus") == {"time": 2, "specialStatuses": None}


def test_a_market_without_a_name_is_no_spot_market() -> None:
    """Found by fuzzing a snapshot."""
    assert ask_info(state_of(MarketListed(3, "")), type="spotMeta")["universe"] == []


def test_l2_book() -> None:
    state = state_of(*(bid(oid, 100 + oid) for oid in range(1, 31)), ask(99, 200))
    book = ask_info(state, type="l2Book", coin="TOYOTA")
    assert (book["coin"], book["time"]) == ("TOYOTA", 2)
    assert [len(side) for side in book["levels"]] == [20, 1]
    assert book["levels"][0][0] == {"px": "130.0", "sz": "1.0", "n": 1}
    rounded = ask_info(state, type="l2Book", coin="TOYOTA", nSigFigs=2, nLevels=2)
    assert rounded["levels"][0] == [
        {"px": "130.0", "sz": "1.0", "n": 1},
        {"px": "120.0", "sz": "10.0", "n": 10},
    ]


def test_recent_trades_are_newest_first() -> None:
    state = state_of(*(fill(tid) for tid in range(1, 16)))
    assert [trade["tid"] for trade in ask_info(state, type="recentTrades", coin="TOYOTA")] == list(
        range(15, 5, -1)
    )
    assert len(ask_info(state, type="recentTrades", coin="TOYOTA", n=100)) == 15
    assert ask_info(state, type="recentTrades", coin="SONY") == []


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ([], "an info request is an object"),
        ({}, "unknown info type None; there are meta, spotMeta, metaAndAssetCtxs"),
        ({"type": "metaa"}, "unknown info type 'metaa'"),
        ({"type": "l2Book"}, "l2Book: Object missing required field `coin`"),
        ({"type": "l2Book", "coin": "X"}, "unknown coin 'X': this chain has SONY, TOYOTA"),
        ({"type": "recentTrades", "coin": "SONY", "n": 1000}, "Expected `int` <= 200"),
        ({"type": "meta", "dex": "xyz"}, "unknown dex 'xyz'"),
    ],
)
def test_bad_requests_are_told_what_is_allowed(request_: Any, message: str) -> None:
    with pytest.raises(RequestInvalid) as caught:
        answer_info(state_of(), request_)
    assert message in str(caught.value)
