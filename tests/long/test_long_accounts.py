"""10,000 blocks of the liveliest profile: no check differs; accounts and candles are right."""

from account_case import ChainAccounts, compare_accounts, crash_chain
from candle_case import Traded, candles_of
from sidecar.devnet.execution.prices import Move
from sidecar.node.block_records import decode_block, encode_block
from sidecar.node.transitions import AccountCheck, BookCheck, Fill
from sidecar.state.candles import INTERVALS
from sidecar.state.chain import ChainState

BLOCKS = 10_000
MOVES = tuple(
    Move(symbol, height, change, 20)
    for start in range(0, BLOCKS - 200, 1_000)
    for symbol, height, change in (
        ("TOYOTA", start + 60, -30),
        ("SONY", start + 150, 35),
        ("TOYOTA", start + 420, 42),
        ("SONY", start + 600, -26),
    )
)


def test_accounts_and_candles_of_10_000_blocks() -> None:
    chain, state = crash_chain(moves=MOVES), ChainState()  # strict: any mismatch raises
    reference, trades = ChainAccounts(chain), dict[int, list[Traded]]()
    checks, compared = 0, 0
    for height in range(1, BLOCKS + 1):
        made = decode_block(encode_block(chain.step()))
        state.apply(made)
        reference.follow(made)
        for one in made.transitions:
            if isinstance(one, Fill):
                of_market = trades.setdefault(one.market, [])
                of_market.append(Traded(made.time_ns, one.px, one.sz))
            checks += isinstance(one, BookCheck | AccountCheck)
        if height % 20 == 0:
            compare_accounts(reference, state, sample=6, seed=height)
            compared += 6
    assert reference.seen >= {"cross", "isolated", "liquidation", "long", "short"}
    for market, of_market in trades.items():
        candles = state.markets[market].candles
        for interval in INTERVALS:
            assert candles.between(interval, 0, 1 << 60) == candles_of(interval, of_market)[-5_000:]
    sold = sum(map(len, trades.values()))
    print(f"{BLOCKS} blocks, {checks} checks, {compared} accounts compared, {sold} trades")  # noqa: T201
