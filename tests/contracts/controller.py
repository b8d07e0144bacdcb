"""The contract of every controller (engines, "Broker" and "Control messages")."""

from abc import abstractmethod
from typing import TYPE_CHECKING

from zope.interface.verify import verifyObject

from centrifugo_tx.interfaces import IController

from .doubles import Mailbox

if TYPE_CHECKING:
    from twisted.trial.unittest import TestCase as Base
else:
    Base = object

__all__ = ["ControllerContract"]


class ControllerContract(Base):
    """Subclasses make the controllers."""

    @abstractmethod
    async def make_controller(self, mailbox: Mailbox, node: str) -> IController:
        """Return the controller of *node*, which delivers to *mailbox*."""

    async def test_interface(self) -> None:
        """It provides the interface."""
        verifyObject(IController, await self.make_controller(Mailbox(), "n1"))

    async def test_to_all(self) -> None:
        """A message to all comes to the sender too."""
        mailbox = Mailbox()
        controller = await self.make_controller(mailbox, "n1")
        await controller.publish(b"\x00hello\xff")
        await mailbox.when_count_is(1)
        self.assertEqual(mailbox.messages, [b"\x00hello\xff"])

    async def test_to_one(self) -> None:
        """A message to one node reaches only that node."""
        mailbox = Mailbox()
        controller = await self.make_controller(mailbox, "n1")
        await controller.publish(b"not for n1", "n2")
        await controller.publish(b"for n1", "n1")
        await mailbox.when_count_is(1)
        self.assertEqual(mailbox.messages, [b"for n1"])

    async def test_order(self) -> None:
        """Messages come in the order in which they were sent."""
        mailbox = Mailbox()
        controller = await self.make_controller(mailbox, "n1")
        sent = [b"%d" % n for n in range(50)]
        for message in sent:
            await controller.publish(message)
        await mailbox.when_count_is(50)
        self.assertEqual(mailbox.messages, sent)
