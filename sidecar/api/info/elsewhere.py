"""The queries of Hyperliquid's API that a node's own info server answers from its state.

What is not answered here may be asked there, if it is one of these. Everything else is kept away
from the node: `fileSnapshot` and its like write files, wherever the request says.
"""

from typing import Any

from sidecar.errors import NotInSource

ELSEWHERE = frozenset(
    (
        *("meta", "spotMeta", "outcomeMeta", "perpDexs", "marginTable", "exchangeStatus"),
        *("clearinghouseState", "spotClearinghouseState", "activeAssetData", "webData2"),
        *("openOrders", "frontendOpenOrders", "liquidatable", "maxMarketOrderNtls"),
        *("extraAgents", "subAccounts", "userFees", "userRateLimit", "userRole", "maxBuilderFee"),
        *("userToMultiSigSigners", "delegations", "delegatorSummary", "validatorL1Votes"),
        *("vaultSummaries", "userVaultEquities", "leadingVaults"),
        *("spotDeployState", "perpDeployAuctionStatus", "perpsAtOpenInterestCap"),
        # What a node may learn to answer; today most refuse these, and its refusal is passed on.
        *("allMids", "l2Book", "metaAndAssetCtxs", "spotMetaAndAssetCtxs", "predictedFundings"),
        *("orderStatus", "historicalOrders", "fundingHistory", "candleSnapshot", "portfolio"),
        *("userFills", "userFillsByTime", "userFunding", "userNonFundingLedgerUpdates"),
        *("twapHistory", "userTwapSliceFills", "referral", "vaultDetails", "tokenDetails"),
        *("delegatorHistory", "delegatorRewards", "gossipRootIps", "perpDexLimits"),
        *("perpDexStatus", "allPerpMetas", "isVip", "legalCheck", "preTransferCheck"),
    )
)


def may_be_elsewhere(request: Any) -> bool:
    """Whether a node's info server may be asked this. O(1)."""
    kind = request.get("type") if isinstance(request, dict) else None
    return isinstance(kind, str) and kind in ELSEWHERE


def not_here(kind: str) -> NotInSource:
    """A query of Hyperliquid's API that this sidecar has no answer of its own to."""
    return NotInSource(f"{kind} is not answered here; ask an API of the chain itself for it")
