"""The chain's blocks as a Hyperliquid node's files: what the lines look like, and that the reader
of such files, which shares nothing with their writer, finds the same chain in them.
"""

import errno
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from blocks import ALICE, BOB, PX, SONY, TOYOTA, ask, bid, block, fill, opened
from sidecar.devnet.chain import Chain
from sidecar.devnet.config import DevnetConfig
from sidecar.devnet.hyperliquid.files import DIFFS, FILLS, MISC, STATUSES, STREAMS, HyperliquidFiles
from sidecar.devnet.rows import snapshot_rows
from sidecar.errors import LogUnwritable
from sidecar.node.hyperliquid import HyperliquidReader, HyperliquidSnapshot
from sidecar.node.snapshot import MarketRow, RestingRow
from sidecar.node.transitions import (
    ASK,
    BID,
    AccountCheck,
    AgentApproved,
    Block,
    BookAdded,
    BookChanged,
    BookRemoved,
    FundingSettled,
    LedgerChanged,
    Leg,
    LeverageChanged,
    Liquidation,
    OrdersRefused,
    OrderStatus,
    PricesUpdated,
    Transition,
    Trigger,
)
from sidecar.state.chain import ChainState

HOUR_NS = 3600 * 10**9
START_NS = 1_778_002_753 * 10**9 // HOUR_NS * HOUR_NS  # 2026-05-05 17:00
A, B = "0x" + "aa" * 20, "0x" + "bb" * 20
NO_HASH = "0x" + "00" * 32
replace = msgspec.structs.replace


class Clock:
    """The node's wall clock."""

    def __init__(self, now_ns: int = START_NS) -> None:
        self.now_ns = now_ns

    def __call__(self) -> int:
        return self.now_ns


def write(root: Path, *blocks: Block, clock: Callable[[], int] | None = None) -> None:
    with HyperliquidFiles(root, [TOYOTA, SONY], [], local_time_ns=clock or Clock()) as files:
        for one in blocks:
            files.write(one)


def text(root: Path, stream: str) -> str:
    """What a stream says, all hours in order."""
    paths = sorted(
        (root / stream / "hourly").glob("*/*"), key=lambda path: (path.parent.name, int(path.name))
    )
    return "".join(path.read_text() for path in paths)


def events(tmp_path: Path, stream: str, *transitions: Transition) -> str:
    """The events of a block in one stream, as they are written."""
    write(tmp_path, block(1, *transitions))
    line = text(tmp_path, stream)
    match = re.fullmatch(r'\{.*?"events":\[(.*)\]\}\n', line)
    assert match is not None
    return match[1]


def test_a_block_is_a_line_in_every_stream_also_when_nothing_happened(tmp_path: Path) -> None:
    now_ns = START_NS + 39 * 60 * 10**9 + 13_394_723_455
    write(tmp_path, Block(985148182, 1_778_002_753_024_084_407, 0, []), clock=Clock(now_ns))
    line = (
        '{"local_time":"2026-05-05T17:39:13.394723455",'
        '"block_time":"2026-05-05T17:39:13.024084407","block_number":985148182,"events":[]}\n'
    )
    for stream in STREAMS:
        assert (tmp_path / stream / "hourly" / "20260505" / "17").read_text() == line
    assert STREAMS == (
        "node_fills_by_block",
        "node_raw_book_diffs_by_block",
        "node_order_statuses_by_block",
        "misc_events_by_block",
    )


def test_an_order(tmp_path: Path) -> None:
    status = replace(opened(7, px=81_307), cloid=b"\x01" * 16, hash=b"\x5c" * 32, builder=(BOB, 15))
    order = (
        '{"coin":"TOYOTA","side":"B","limitPx":"81307.0","sz":"1.0","oid":7,'
        '"timestamp":1767878802703,"triggerCondition":"N/A","isTrigger":false,"triggerPx":"0.0",'
        '"children":[],"isPositionTpsl":false,"reduceOnly":false,"orderType":"Limit",'
        f'"origSz":"1.0","tif":"Gtc","cloid":"0x{"01" * 16}"' + "}"
    )
    assert events(tmp_path, STATUSES, status) == (
        f'{{"time":"2026-01-08T13:26:42.703377851","user":"{A}","hash":"0x{"5c" * 32}",'
        f'"builder":{{"b":"{B}","f":15}},"status":"open","order":{order}}}'
    )


def test_what_an_order_has_not_is_null(tmp_path: Path) -> None:
    status = replace(opened(7), tif=None, time_ns=0)
    written = json.loads(events(tmp_path, STATUSES, status))
    assert (written["hash"], written["builder"]) == (None, None)
    assert (written["order"]["tif"], written["order"]["cloid"]) == (None, None)
    assert written["time"] == "1970-01-01T00:00:00.001000000"  # the block's


@pytest.mark.parametrize(
    ("trigger", "fields"),
    [
        (None, ("N/A", False, "0.0", False)),
        (Trigger(90 * PX, "Price below 90"), ("Price below 90", True, "90.0", False)),
        (Trigger(90 * PX, "Price below 90", True), ("Price below 90", True, "90.0", True)),
        (Trigger(90 * PX, "Price below 90", waiting=False), ("Triggered", False, "0.0", False)),
    ],
)
def test_triggers(
    tmp_path: Path, trigger: Trigger | None, fields: tuple[str, bool, str, bool]
) -> None:
    written = json.loads(events(tmp_path, STATUSES, replace(opened(7), trigger=trigger)))
    names = ("triggerCondition", "isTrigger", "triggerPx", "isPositionTpsl")
    assert tuple(written["order"][name] for name in names) == fields


def test_refusals_left_encoded_are_written_like_all(tmp_path: Path) -> None:
    refused = replace(opened(7), status="badAloPxRejected")
    left_encoded = OrdersRefused(1, 1, lambda: [refused])
    assert '"status":"badAloPxRejected"' in events(tmp_path, STATUSES, left_encoded)


def test_diffs(tmp_path: Path) -> None:
    in_front = BookAdded(1, 9, BOB, BID, 100 * PX, 15 * PX // 10, before_oid=7)
    half = PX // 2
    head = f'{{"user":"{A}","oid":7,"coin":"TOYOTA","side":"B","px":"100.0","raw_book_diff":'
    assert events(
        tmp_path,
        DIFFS,
        bid(7, 100, 2),
        BookChanged(1, 7, half),
        BookChanged(1, 7, 0, old_sz=half),
        in_front,
        BookRemoved(1, 7),
    ) == (
        head + '{"new":{"sz":"2.0"}}},'
        f'{head}{{"update":{{"origSz":"2.0","newSz":"0.5"}}}}}},'
        f'{head}{{"update":{{"origSz":"0.5","newSz":"0.0"}}}}}},'
        f'{{"user":"{B}","oid":9,"coin":"TOYOTA","side":"B","px":"100.0",'
        '"raw_book_diff":{"new":{"sz":"1.5","insertBefore":7}}},'
        f'{head}"remove"}}'
    )


def test_fills_are_two_legs_the_buyers_first(tmp_path: Path) -> None:
    why = Liquidation(ALICE, 99 * PX, "market")
    seller = Leg(
        ALICE, 2, b"\x02" * 16, -PX, -3 * PX // 2, -1000, why, "Close Long", "YEN", twap_id=5
    )
    trade = replace(fill(31), seller=seller, taker_side=ASK)
    assert events(tmp_path, FILLS, trade) == (
        f'["{A}",{{"coin":"TOYOTA","px":"100.0","sz":"1.0","side":"B","time":1,'
        f'"startPosition":"0.0","dir":"","closedPnl":"0.0","hash":"0x{"0f" * 32}","oid":1,'
        '"crossed":false,"fee":"0.0","tid":31,"feeToken":"USDC","twapId":null}],'
        f'["{A}",{{"coin":"TOYOTA","px":"100.0","sz":"1.0","side":"A","time":1,'
        f'"startPosition":"-1.0","dir":"Close Long","closedPnl":"-1.5","hash":"0x{"0f" * 32}",'
        f'"oid":2,"crossed":true,"fee":"-0.00001","tid":31,"cloid":"0x{"02" * 16}",'
        f'"liquidation":{{"liquidatedUser":"{A}","markPx":"99.0","method":"market"}},'
        '"feeToken":"YEN","twapId":5}]'
    )


def test_a_fill_with_one_leg(tmp_path: Path) -> None:
    (leg,) = json.loads(f"[{events(tmp_path, FILLS, replace(fill(31), buyer=None))}]")
    assert (leg[0], leg[1]["side"], leg[1]["crossed"]) == (B, "A", False)


def test_the_funding_of_a_block_is_one_event(tmp_path: Path) -> None:
    settled = (
        FundingSettled(1, -8102, 0, 100 * PX, ((ALICE, -2 * PX, 3 * PX), (BOB, 2 * PX, -3 * PX))),
        FundingSettled(2, 1250, 0, 100 * PX, ((BOB, PX, -PX),)),
    )
    deltas = (
        f'{{"user":"{A}","coin":"TOYOTA","funding_amount":"3.0","szi":"-2.0",'
        '"funding_rate":"-0.00008102"},'
        f'{{"user":"{B}","coin":"TOYOTA","funding_amount":"-3.0","szi":"2.0",'
        '"funding_rate":"-0.00008102"},'
        f'{{"user":"{B}","coin":"SONY","funding_amount":"-1.0","szi":"1.0",'
        '"funding_rate":"0.0000125"}'
    )
    assert events(tmp_path, MISC, *settled) == (
        f'{{"time":"1970-01-01T00:00:00.001000000","hash":"{NO_HASH}",'
        f'"inner":{{"Funding":{{"deltas":[{deltas}]}}}}}}'
    )


@pytest.mark.parametrize(
    ("changed", "users", "delta"),
    [
        (LedgerChanged(ALICE, "deposit", 5 * PX), [A], {"type": "deposit", "usdc": "5.0"}),
        (
            LedgerChanged(ALICE, "withdraw", -5 * PX),
            [A],
            {"type": "withdraw", "usdc": "5.0", "nonce": 0, "fee": "0.0"},
        ),
        (
            LedgerChanged(ALICE, "internalTransfer", -5 * PX, {"destination": BOB}),
            [A, B],
            {
                "type": "internalTransfer",
                "usdc": "5.0",
                "user": A,
                "destination": B,
                "fee": "0.0",
            },
        ),
        (
            LedgerChanged(
                ALICE,
                "liquidation",
                -5 * PX,
                {
                    "is_cross": True,
                    "account_value": 5 * PX,
                    "notional": 500 * PX,
                    "positions": [[2, -7 * PX]],
                },
            ),
            [A],
            {
                "type": "liquidation",
                "liquidatedNtlPos": "500.0",
                "accountValue": "5.0",
                "leverageType": "Cross",
                "liquidatedPositions": [{"coin": "SONY", "szi": "-7.0"}],
            },
        ),
        (
            LedgerChanged(BOB, "fundingRounding", 1, {"market": 2}),
            [B],
            {"type": "fundingRounding", "usdc": "0.00000001", "coin": "SONY"},
        ),
    ],
)
def test_ledger(
    tmp_path: Path, changed: LedgerChanged, users: list[str], delta: dict[str, Any]
) -> None:
    written = events(tmp_path, MISC, changed)
    inner = {"LedgerUpdate": {"users": users, "delta": delta}}
    event = {"time": "1970-01-01T00:00:00.001000000", "hash": NO_HASH, "inner": inner}
    assert written == json.dumps(event, separators=(",", ":"))


def test_a_transfer_between_users_is_said_once(tmp_path: Path) -> None:
    details = {"user": ALICE, "destination": BOB}
    both = (
        LedgerChanged(ALICE, "internalTransfer", -PX, details),
        LedgerChanged(BOB, "internalTransfer", PX, details),
    )
    assert events(tmp_path, MISC, *both).count("LedgerUpdate") == 1


def test_what_the_node_has_no_file_for_is_in_none(tmp_path: Path) -> None:
    silent = (
        PricesUpdated(((1, PX, PX),)),
        LeverageChanged(ALICE, 1, 10, True),
        AgentApproved(ALICE, BOB, "bot"),
        AccountCheck(ALICE, 0, ()),
    )
    write(tmp_path, block(1, *silent))
    assert all('"events":[]' in text(tmp_path, stream) for stream in STREAMS)


def test_a_market_listed_later_has_its_name(tmp_path: Path) -> None:
    honda = replace(TOYOTA, market=3, symbol="HONDA")
    write(tmp_path, block(1, honda), block(2, bid(1, 5, market=3)))
    assert '"coin":"HONDA"' in text(tmp_path, DIFFS)


def hours(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root / FILLS)) for path in (root / FILLS).rglob("*/*/*"))


def test_hours_and_days_roll_over_by_the_local_clock(tmp_path: Path) -> None:
    clock = Clock(1_778_025_599_999_999_999)
    with HyperliquidFiles(tmp_path, [], [], local_time_ns=clock) as files:
        files.write(block(1))
        clock.now_ns += 1  # midnight
        files.write(block(2))
        clock.now_ns += HOUR_NS - 1
        files.write(block(3))
        clock.now_ns += 9 * HOUR_NS
        files.write(block(4))
    assert hours(tmp_path) == [
        "hourly/20260505/23",
        "hourly/20260506/0",
        "hourly/20260506/9",
    ]
    assert (tmp_path / FILLS / "hourly/20260506/0").read_text().count("\n") == 2
    with HyperliquidReader(tmp_path, after=0, markets={}) as reader:
        assert [one.height for one in iter(reader.next_block, None)] == [1, 2, 3, 4]


def test_a_clock_that_steps_back_stays_in_the_file(tmp_path: Path) -> None:
    clock = Clock()
    with HyperliquidFiles(tmp_path, [], [], local_time_ns=clock) as files:
        files.write(block(1))
        clock.now_ns -= 1
        files.write(block(2))
    assert hours(tmp_path) == ["hourly/20260505/17"]
    assert '"local_time":"2026-05-05T16:59:59.999999999"' in text(tmp_path, FILLS)


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    path = tmp_path / STATUSES / "hourly" / "20260505" / "17"
    path.parent.mkdir(parents=True)
    path.symlink_to("/dev/full")
    with HyperliquidFiles(tmp_path, [], [], local_time_ns=Clock()) as files:
        with pytest.raises(LogUnwritable, match="No space left on device") as caught:
            files.write(block(1))
        assert caught.value.path == path
        with pytest.raises(LogUnwritable, match="failed before"):
            files.write(block(2))
    assert text(tmp_path, FILLS).count("\n") == 1


def test_a_write_that_is_cut_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, line: real(fd, bytes(line)[:10]))
    with (
        HyperliquidFiles(tmp_path, [], [], local_time_ns=Clock()) as files,
        pytest.raises(LogUnwritable, match="only 10 of"),
    ):
        files.write(block(1))


def test_a_directory_that_can_not_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, **_: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with (
        HyperliquidFiles(tmp_path, [], [], local_time_ns=Clock()) as files,
        pytest.raises(LogUnwritable, match="Permission denied") as caught,
    ):
        files.write(block(1))
    assert caught.value.path == tmp_path / FILLS / "hourly" / "20260505" / "17"


def test_half_a_line_of_a_node_that_died_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path, block(1), block(2))
    path = tmp_path / DIFFS / "hourly" / "20260505" / "17"
    path.write_bytes(path.read_bytes()[:-30])
    write(tmp_path, block(2), block(3))
    with HyperliquidReader(tmp_path, after=0, markets={}) as reader:
        assert [one.height for one in iter(reader.next_block, None)] == [1, 2, 3]
        assert reader.half_lines_dropped == 1


def books(state: ChainState) -> dict[str, Any]:
    """The markets by symbol, those of which nobody heard yet left out."""
    return {
        market.symbol: [
            [(one.oid, one.user, one.px, one.sz) for one in market.book.queue(side)]
            for side in (BID, ASK)
        ]
        for market in state.markets.values()
        if market.orders_height
    }


def trades(state: ChainState) -> dict[str, Any]:
    return {
        market.symbol: [
            (one.height, one.time_ns, replace(one.fill, market=0)) for one in market.trades
        ]
        for market in state.markets.values()
        if market.trades
    }


def statuses(one: Block, state: ChainState) -> list[Any]:
    """A block's, those of refusals too; what a trigger was is not said once it triggered."""
    found: list[OrderStatus] = []
    for transition in one.transitions:
        if isinstance(transition, OrderStatus):
            found.append(transition)
        elif isinstance(transition, OrdersRefused):
            found += transition.statuses()
    said = [
        (state.markets[status.market].symbol, replace(status, market=0, trigger=None))
        for status in found
    ]
    return sorted(said, key=repr)


def check_same_chain(blocks: list[Block], root: Path) -> None:
    """The files say what the blocks say."""
    mine, theirs = ChainState(), ChainState()
    with HyperliquidReader(root, after=0, markets={}) as reader:
        for native in blocks:
            read = reader.next_block()
            assert read is not None
            assert (read.height, read.time_ns) == (native.height, native.time_ns)
            mine.apply(native)
            theirs.apply(read)
            assert books(theirs) == books(mine)
            assert trades(theirs) == trades(mine)
            assert statuses(read, theirs) == statuses(native, mine)
        assert reader.next_block() is None
        assert reader.statuses_unknown == 0


@pytest.mark.parametrize("seed", [1, 2])
def test_the_reader_finds_the_same_chain(tmp_path: Path, seed: int) -> None:
    chain = Chain(DevnetConfig(path="unused", seed=seed, actions_per_block=100))
    with HyperliquidFiles(tmp_path, [], [], local_time_ns=Clock()) as files:
        blocks = [chain.step() for _ in range(120)]
        for one in blocks:
            files.write(one)
    check_same_chain(blocks, tmp_path)


def test_a_chain_that_is_continued(tmp_path: Path) -> None:
    chain = Chain(DevnetConfig(path="unused", actions_per_block=100))
    with HyperliquidFiles(tmp_path, [], [], local_time_ns=Clock()) as files:
        blocks = [chain.step() for _ in range(40)]
        for one in blocks:
            files.write(one)
    rows = list(snapshot_rows(chain))
    listings = [row.listing for row in rows if isinstance(row, MarketRow)]
    resting = [row for row in rows if isinstance(row, RestingRow)]
    with HyperliquidFiles(tmp_path, listings, resting, local_time_ns=Clock()) as files:
        for _ in range(40):
            blocks.append(chain.step())
            files.write(blocks[-1])
    check_same_chain(blocks, tmp_path)


def test_blocks_by_hand_come_back(tmp_path: Path) -> None:
    blocks = [
        block(1, TOYOTA, SONY),
        block(2, opened(1), bid(1, 100, 3), bid(2, 100), ask(3, 101, market=2)),
        block(3),
        block(4, BookAdded(1, 4, BOB, BID, 100 * PX, PX, before_oid=1), BookChanged(1, 1, PX)),
        block(5, fill(9), BookChanged(1, 4, 0), BookRemoved(1, 4), BookRemoved(2, 3)),
    ]
    write(tmp_path, *blocks)
    check_same_chain(blocks, tmp_path)


LOCAL_TIME = re.compile(rb'^\{"local_time":"[^"]*",', re.MULTILINE)


def test_mainnets_own_lines_come_out_as_they_were(
    captured: Path, captured_data: Path, tmp_path: Path
) -> None:
    snapshot = HyperliquidSnapshot(captured / "snapshot_985148181.json.gz")
    rows = list(snapshot.rows())
    listings = [row.listing for row in rows if isinstance(row, MarketRow)]
    resting = [row for row in rows if isinstance(row, RestingRow)]
    reader = HyperliquidReader(captured_data, after=snapshot.height, markets=snapshot.markets)
    with reader, HyperliquidFiles(tmp_path, listings, resting, local_time_ns=Clock()) as files:
        for one in iter(reader.next_block, None):
            files.write(one)
    for stream in (FILLS, DIFFS):
        theirs, mine = both_lines(captured_data, tmp_path, stream)
        assert len(mine) == 51
        assert mine == theirs
    for theirs_line, mine_line in zip(*both_lines(captured_data, tmp_path, STATUSES), strict=True):
        assert encoded_statuses(mine_line) == encoded_statuses(theirs_line)


def both_lines(captured_data: Path, root: Path, stream: str) -> list[list[bytes]]:
    """Their lines and ours, less the clock."""
    path = Path(stream) / "hourly" / "20260505" / "17"
    texts = [(data / path).read_bytes() for data in (captured_data, root)]
    return [LOCAL_TIME.sub(b"", one).splitlines() for one in texts]


def encoded_statuses(line: bytes) -> list[str]:
    """A row's, as text and so key by key, sorted: the reader puts refusals behind the others.

    Children are left out: they are not read.
    """
    row = json.loads(b"{" + line)
    for event in row["events"]:
        event["order"]["children"] = []
    return [str(row["block_time"]), *sorted(map(json.dumps, row["events"]))]


def keys(value: Any) -> Any:
    """The keys of JSON in their order, at every depth; of a list those of its first element."""
    if isinstance(value, dict):
        return [(name, keys(inner)) for name, inner in value.items()]
    return [keys(value[0])] if isinstance(value, list) and value else None


def test_liquidations_have_mainnets_keys(captured: Path, tmp_path: Path) -> None:
    name = "node_fills_streaming.mainnet_liquidation_20260628.jsonl"
    theirs = json.loads((captured.parent / "samples" / name).read_text())["events"][0][1]
    seller = Leg(ALICE, 2, b"\x02" * 16, 0, 0, 0, Liquidation(ALICE, PX, "market"))
    mine = json.loads(f"[{events(tmp_path, FILLS, replace(fill(31), seller=seller))}]")[1][1]
    assert keys(mine) == keys(theirs)


def test_misc_events_have_mainnets_keys(captured: Path, tmp_path: Path) -> None:
    name = "misc_events_streaming.mainnet_20260611.jsonl"
    lines = (captured.parent / "samples" / name).read_text().splitlines()
    theirs = [event for line in lines for event in json.loads(line)["events"]]
    funding = next(event for event in theirs if "Funding" in event["inner"])
    settled = FundingSettled(1, 1250, 0, PX, ((BOB, PX, -PX),))
    assert keys(json.loads(events(tmp_path / "funding", MISC, settled))) == keys(funding)
    update = next(event for event in theirs if "LedgerUpdate" in event["inner"])
    mine = json.loads(events(tmp_path / "ledger", MISC, LedgerChanged(ALICE, "deposit", PX)))
    assert list(mine) == list(update)
    assert list(mine["inner"]["LedgerUpdate"]) == list(update["inner"]["LedgerUpdate"])
    assert next(iter(mine["inner"]["LedgerUpdate"]["delta"])) == "type"
