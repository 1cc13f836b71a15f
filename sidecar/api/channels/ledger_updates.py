"""`userNonFundingLedgerUpdates`: a user's newest ledger entries, then those of each block."""

from collections.abc import Iterator

from sidecar.api.messages import ChainedPush, hex_text
from sidecar.api.money_view import check_money_told, ledger_update
from sidecar.api.topics import Delivery, Needs, Topic, UserChannel, UserParameters
from sidecar.limits import RANGE_ANSWERED
from sidecar.state.changes import Changes


class LedgerUpdatesChannel(UserChannel):
    """One message a block in which anything but a trade or funding moved the user's balance."""

    name = "userNonFundingLedgerUpdates"
    delivery = Delivery.EVERY
    needs = Needs.NOTHING

    def key(self, parameters: UserParameters) -> tuple[bytes, str]:
        """The user's address. Raises `NotInSource` where the node does not tell."""
        check_money_told(self.state, self.name)
        return super().key(parameters)

    def publish(self, changes: Changes) -> Iterator[tuple[Topic, ChainedPush]]:
        """O(entries of the users that are read)."""
        for topic, changed in self.changed(changes):
            if changed.ledger:
                updates = [ledger_update(self.state, entry) for entry in changed.ledger]
                data = {"user": hex_text(topic.key), "nonFundingLedgerUpdates": updates}
                yield topic, ChainedPush(self.name, data, changes.height, changed.ledger_prev)

    def snapshot(self, topic: Topic) -> ChainedPush:
        """The newest 500, oldest first. `prev` is the height of the newest one."""
        user = self.state.users.look(topic.key)
        newest = list(user.ledger or ())[-RANGE_ANSWERED:]
        data = {
            "user": hex_text(topic.key),
            "isSnapshot": True,
            "nonFundingLedgerUpdates": [ledger_update(self.state, entry) for entry in newest],
        }
        return ChainedPush(self.name, data, self.state.height, user.ledger_height)
