"""Accounts of the state against those of the chain that wrote the log, field by field."""

from typing import Any

from account_case import ChainAccounts, compare_accounts, crash_chain
from sidecar.devnet.rows import snapshot_rows
from sidecar.node.block_records import decode_block, encode_block
from sidecar.state.chain import ChainState
from sidecar.state.checkpoint import checkpoint_rows, restorer
from sidecar.state.margin import is_liquidatable, standing


def test_every_field_is_the_chains_own() -> None:
    chain, state = crash_chain(), ChainState()
    reference = ChainAccounts(chain)
    for height in range(1, 401):
        made = decode_block(encode_block(chain.step()))
        state.apply(made)
        reference.follow(made)
        if height % 10 == 0:
            compare_accounts(reference, state, sample=8, seed=height)
    assert reference.seen >= {"cross", "isolated", "liquidation", "long", "short"}


def test_from_a_snapshot_or_a_checkpoint_it_goes_on_alike() -> None:
    chain, whole = crash_chain(seed=5), ChainState()
    for _ in range(150):
        whole.apply(decode_block(encode_block(chain.step())))
    fresh, again = ChainState(), ChainState()
    fresh.restore(150, chain.time_ns, snapshot_rows(chain))
    restorer(again, 150, chain.time_ns).rows(checkpoint_rows(whole))
    for _ in range(100):
        made = decode_block(encode_block(chain.step()))
        for state in (whole, fresh, again):
            state.apply(made)
    for address, user in whole.users.by_address.items():
        assert purse(fresh, address) == purse(whole, address)
        assert purse(again, address) == purse(whole, address)
        assert again.users.get(address).funding_paid == user.funding_paid
    assert fresh.accounts.agents == whole.accounts.agents


def purse(state: ChainState, address: bytes) -> Any:
    user = state.users.get(address)
    held = {id_: (one.sz, one.cost, one.margin) for id_, one in user.positions.items()}
    liquidatable = is_liquidatable(state.accounts, state.markets, user)
    return user.balance, held, standing(state.accounts, state.markets, user), liquidatable
