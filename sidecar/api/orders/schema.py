"""The JSON of every action that the chain takes, as types: Hyperliquid's names and shapes.

Both ends of order entry read it: the sidecar, and the development chain.

`faucet` is ours: `{"type": "faucet", "amount": "1000000"}` deposits quote currency for whoever
signs it. (https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/exchange-endpoint)
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from sidecar.fixed import NUMBER_MAX
from sidecar.limits import ACTION_BATCH_MAX

NTLI_UNIT = 100  # updateIsolatedMargin counts in 1e-6
NS_PER_MS = 1_000_000
TIME_MS_MAX = (1 << 63) // NS_PER_MS - 1
_FAUCET_DEFAULT = "10000000"

_Natural = Annotated[int, Meta(ge=0, le=NUMBER_MAX)]
_TimeMs = Annotated[int, Meta(ge=0, le=TIME_MS_MAX)]
_Number = Annotated[str, Meta(max_length=40)]
_Cloid = Annotated[str, Meta(pattern="^0x[0-9a-fA-F]{32}$")]


class Limit(msgspec.Struct, frozen=True):
    tif: Literal["Gtc", "Ioc", "Alo", "FrontendMarket"]


class Trigger(msgspec.Struct, frozen=True, rename="camel"):
    is_market: bool
    trigger_px: _Number
    tpsl: Literal["tp", "sl"]


class OrderType(msgspec.Struct, frozen=True):
    limit: Limit | UnsetType = UNSET
    trigger: Trigger | UnsetType = UNSET


class WireOrder(msgspec.Struct, frozen=True):
    a: _Natural
    b: bool
    p: _Number
    s: _Number
    r: bool
    t: OrderType
    c: _Cloid | None = None


class WireCancel(msgspec.Struct, frozen=True):
    a: _Natural
    o: _Natural


class WireCancelByCloid(msgspec.Struct, frozen=True):
    asset: _Natural
    cloid: _Cloid


class Modification(msgspec.Struct, frozen=True):
    oid: _Natural | _Cloid
    order: WireOrder


_Batch = Meta(min_length=1, max_length=ACTION_BATCH_MAX)


class OrderAction(msgspec.Struct, frozen=True, tag="order"):
    orders: Annotated[list[WireOrder], _Batch]
    grouping: Literal["na", "normalTpsl", "positionTpsl"]
    builder: dict[str, Any] | None = None


class CancelAction(msgspec.Struct, frozen=True, tag="cancel"):
    cancels: Annotated[list[WireCancel], _Batch]


class CancelByCloidAction(msgspec.Struct, frozen=True, tag="cancelByCloid"):
    cancels: Annotated[list[WireCancelByCloid], _Batch]


class ModifyAction(msgspec.Struct, frozen=True, tag="modify"):
    oid: _Natural | _Cloid
    order: WireOrder


class BatchModifyAction(msgspec.Struct, frozen=True, tag="batchModify"):
    modifies: Annotated[list[Modification], _Batch]


class ScheduleCancelAction(msgspec.Struct, frozen=True, tag="scheduleCancel"):
    time: _TimeMs | None = None


class UpdateLeverageAction(msgspec.Struct, frozen=True, tag="updateLeverage", rename="camel"):
    asset: _Natural
    is_cross: bool
    leverage: _Natural


class UpdateIsolatedMarginAction(
    msgspec.Struct, frozen=True, tag="updateIsolatedMargin", rename="camel"
):
    asset: _Natural
    is_buy: bool  # of no effect, as on Hyperliquid
    ntli: Annotated[int, Meta(ge=-NUMBER_MAX // NTLI_UNIT, le=NUMBER_MAX // NTLI_UNIT)]


class ApproveAgentAction(msgspec.Struct, frozen=True, tag="approveAgent", rename="camel"):
    agent_address: str
    agent_name: Annotated[str, Meta(max_length=64)] | None = None


class UsdSendAction(msgspec.Struct, frozen=True, tag="usdSend"):
    destination: str
    amount: _Number


class NoopAction(msgspec.Struct, frozen=True, tag="noop"):
    pass


class FaucetAction(msgspec.Struct, frozen=True, tag="faucet"):
    amount: _Number = _FAUCET_DEFAULT


WireAction = (
    OrderAction
    | CancelAction
    | CancelByCloidAction
    | ModifyAction
    | BatchModifyAction
    | ScheduleCancelAction
    | UpdateLeverageAction
    | UpdateIsolatedMarginAction
    | ApproveAgentAction
    | UsdSendAction
    | NoopAction
    | FaucetAction
)
