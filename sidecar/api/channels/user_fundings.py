"""`userFundings`: a user's newest funding payments, then those of each block."""

from collections.abc import Iterator

from sidecar.api.messages import ChainedPush, hex_text
from sidecar.api.money_view import check_money_told, funding_view
from sidecar.api.topics import Delivery, Needs, Topic, UserChannel, UserParameters
from sidecar.limits import RANGE_ANSWERED
from sidecar.state.changes import Changes


class UserFundingsChannel(UserChannel):
    """One message a block in which the user paid or was paid."""

    name = "userFundings"
    delivery = Delivery.EVERY
    needs = Needs.NOTHING

    def key(self, parameters: UserParameters) -> tuple[bytes, str]:
        """The user's address. Raises `NotInSource` where the node does not tell."""
        check_money_told(self.state, self.name)
        return super().key(parameters)

    def publish(self, changes: Changes) -> Iterator[tuple[Topic, ChainedPush]]:
        """O(payments of the users that are read)."""
        for topic, changed in self.changed(changes):
            if changed.fundings:
                fundings = [funding_view(self.state, paid) for paid in changed.fundings]
                data = {"user": hex_text(topic.key), "fundings": fundings}
                yield topic, ChainedPush(self.name, data, changes.height, changed.fundings_prev)

    def snapshot(self, topic: Topic) -> ChainedPush:
        """The newest 500, oldest first. `prev` is the height of the newest one."""
        user = self.state.users.look(topic.key)
        newest = list(user.fundings or ())[-RANGE_ANSWERED:]
        data = {
            "user": hex_text(topic.key),
            "isSnapshot": True,
            "fundings": [funding_view(self.state, paid) for paid in newest],
        }
        return ChainedPush(self.name, data, self.state.height, user.fundings_height)
