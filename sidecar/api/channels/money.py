"""What else moves a user's balance: `userFundings` and `userNonFundingLedgerUpdates`, each with its
newest entries, then those of each block.
"""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from sidecar.api.messages import ChainedPush, hex_text
from sidecar.api.money_view import check_money_told, funding_view, ledger_update
from sidecar.api.topics import Delivery, Needs, Topic, UserChannel, UserParameters
from sidecar.limits import RANGE_ANSWERED
from sidecar.state.changes import Changes, UserChanges
from sidecar.state.users import User


class MoneyChannel(UserChannel):
    """One message a block with any entry of the user. A family: one subclass a kind of entry."""

    delivery = Delivery.EVERY
    needs = Needs.NOTHING
    field: ClassVar[str]  # of the message, which holds the entries

    def key(self, parameters: UserParameters) -> tuple[bytes, str]:
        """The user's address. Raises `NotInSource` where the node does not tell."""
        check_money_told(self.state, self.name)
        return super().key(parameters)

    def publish(self, changes: Changes) -> Iterator[tuple[Topic, ChainedPush]]:
        """O(entries of the users that are read)."""
        for topic, changed in self.changed(changes):
            entries, prev = self.of_block(changed)
            if entries:
                data = {"user": hex_text(topic.key), self.field: self._views(entries)}
                yield topic, ChainedPush(self.name, data, changes.height, prev)

    def snapshot(self, topic: Topic) -> ChainedPush:
        """The newest 500, oldest first. `prev` is the height of the newest one."""
        kept, height = self.kept(self.state.users.look(topic.key))
        newest = self._views(kept[-RANGE_ANSWERED:])
        data = {"user": hex_text(topic.key), "isSnapshot": True, self.field: newest}
        return ChainedPush(self.name, data, self.state.height, height)

    @abstractmethod
    def of_block(self, changed: UserChanges) -> tuple[Sequence[Any], int | None]:
        """A block's entries, and the height of those before."""

    @abstractmethod
    def kept(self, user: User) -> tuple[Sequence[Any], int | None]:
        """The entries that are kept, oldest first, and the height of the newest."""

    @abstractmethod
    def view(self, entry: Any) -> Any:
        """An entry as clients read it."""

    def _views(self, entries: Sequence[Any]) -> list[Any]:
        return [self.view(entry) for entry in entries]


class UserFundingsChannel(MoneyChannel):
    """What the user paid or was paid."""

    name = "userFundings"
    field = "fundings"

    def of_block(self, changed: UserChanges) -> tuple[Sequence[Any], int | None]:
        """Payments."""
        return changed.fundings, changed.fundings_prev

    def kept(self, user: User) -> tuple[Sequence[Any], int | None]:
        """Payments."""
        return list(user.fundings or ()), user.fundings_height

    def view(self, entry: Any) -> Any:
        """A payment."""
        return funding_view(self.state, entry)


class LedgerUpdatesChannel(MoneyChannel):
    """Anything but a trade or funding."""

    name = "userNonFundingLedgerUpdates"
    field = "nonFundingLedgerUpdates"

    def of_block(self, changed: UserChanges) -> tuple[Sequence[Any], int | None]:
        """Ledger entries."""
        return changed.ledger, changed.ledger_prev

    def kept(self, user: User) -> tuple[Sequence[Any], int | None]:
        """Ledger entries."""
        return list(user.ledger or ()), user.ledger_height

    def view(self, entry: Any) -> Any:
        """A ledger entry."""
        return ledger_update(self.state, entry)
