"""Topics as the journal names them, and which topic a message is of.

trades:TOYOTA    l2Book:SONY nSigFigs=3    userFills:0xab.. aggregateByTime=True    blocks
"""

from typing import Any, NamedTuple

EVERY = frozenset(
    (
        *("trades", "l4Book", "bookDelta", "candle", "orderUpdates", "userEvents", "userFills"),
        *("userFundings", "userNonFundingLedgerUpdates", "status"),
    )
)
LATEST = frozenset(
    (
        *("l2Book", "bbo", "activeAssetCtx", "allMids", "openOrders", "clearinghouseState"),
        *("activeAssetData", "webData2", "blocks"),
    )
)
RESUMABLE = EVERY - {"status"}
SNAPSHOTS_FIRST = EVERY - {"trades", "candle", "orderUpdates", "userEvents"}
OF_NOBODY = frozenset(("allMids", "status", "blocks"))
OF_USERS = frozenset(
    (
        *("orderUpdates", "userEvents", "userFills", "userFundings", "openOrders"),
        *("userNonFundingLedgerUpdates", "clearinghouseState", "webData2"),
    )
)
_CHANNELS = {"user": "userEvents"}  # where a channel is not called as its subscription


class Topic(NamedTuple):
    """A kind, whom or what it is about, and how, where there are several ways."""

    kind: str
    about: str = ""
    how: tuple[tuple[str, Any], ...] = ()

    @property
    def place(self) -> tuple[str, str]:
        """What messages say of it: two topics of one place can't be told apart."""
        return self.kind, self.about

    def subscription(self) -> dict[str, Any]:
        """As a client writes it."""
        about: dict[str, Any] = {"type": self.kind}
        if self.kind == "activeAssetData":
            user, coin = self.about.split("/")
            about |= {"user": user, "coin": coin}
        elif self.kind in OF_USERS:
            about["user"] = self.about
        elif self.kind not in OF_NOBODY:
            about["coin"] = self.about
        return about | dict(self.how)


def text_of(topic: Topic) -> str:
    """Its name in the journal."""
    about = f":{topic.about}" if topic.about else ""
    return " ".join([topic.kind + about, *(f"{name}={value}" for name, value in topic.how)])


def topic_of(text: str) -> Topic:
    """The topic of such a name."""
    name, *how = text.split(" ")
    kind, _, about = name.partition(":")
    pairs = [one.partition("=") for one in how]
    return Topic(kind, about, tuple((name, _value(value)) for name, _, value in pairs))


def subscribed_topic(subscription: dict[str, Any]) -> Topic:
    """The topic of a subscription, in a gap message or an answer."""
    rest = {
        name: value
        for name, value in subscription.items()
        if name not in ("type", "coin", "user", "dex") and value not in (None, False)
    }
    parts = [subscription[name] for name in ("user", "coin") if name in subscription]
    return Topic(subscription["type"], "/".join(parts), tuple(sorted(rest.items())))


def place_of(message: dict[str, Any]) -> tuple[str, str]:
    """What a message is about (see `Topic.place`)."""
    channel, data = message["channel"], message["data"]
    kind = _CHANNELS.get(channel, channel)
    if kind in OF_NOBODY:
        return kind, ""
    if kind in ("orderUpdates", "userEvents"):
        return kind, message["user"]
    if kind == "activeAssetData":
        return kind, f"{data['user']}/{data['coin']}"
    if kind == "webData2":
        return kind, data["user"]
    if kind in OF_USERS:
        return kind, data["user"]
    if kind == "trades":
        return kind, data[0]["coin"]
    if kind == "candle":
        return kind, data["s"]
    if kind == "l4Book":
        return kind, _l4_coin(data)
    return kind, data["coin"]


def is_snapshot(kind: str, data: Any) -> bool:
    """Whether a message is what a topic begins with."""
    if kind == "blocks":
        return "transitions" not in data
    return isinstance(data, dict) and bool(
        data.get("isSnapshot") or data.get("snapshot") or "Snapshot" in data
    )


def _l4_coin(data: dict[str, Any]) -> str:
    if "Snapshot" in data:
        return str(data["Snapshot"]["coin"])
    updates = data["Updates"]
    if updates["book_diffs"]:
        return str(updates["book_diffs"][0]["coin"])
    return str(updates["order_statuses"][0]["order"]["coin"])


def _value(text: str) -> Any:
    if text in ("True", "False"):
        return text == "True"
    return int(text) if text.isdigit() else text
