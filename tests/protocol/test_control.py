"""Messages between nodes."""

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.protocol import control
from centrifugo_tx.protocol.control import ControlCommand
from centrifugo_tx.protocol.errors import DecodeError
from centrifugo_tx.protocol.messages import Raw, StreamPosition

UID = "11111111-2222-4333-8444-555555555555"
SENDER = "0a2431313131313131312d323232322d343333332d383434342d353535353535353535353535"

#: Commands after the sender, as the reference writes them (engines, "Control
#: messages").
VECTORS = (
    (
        ControlCommand(
            UID,
            node=control.Node(
                UID, "n1", "0.1", 3, 2, num_channels=4, uptime=9, num_subs=5
            ),
        ),
        "22390a2431313131313131312d323232322d343333332d383434342d3535353535353535353535"
        "3512026e311a03302e3120032802300438095005",
    ),
    (ControlCommand(UID, shutdown=control.Shutdown()), "3a00"),
    (
        ControlCommand(UID, survey_request=control.SurveyRequest(1, "channels")),
        "420c080112086368616e6e656c73",
    ),
    (
        ControlCommand(
            UID, survey_response=control.SurveyResponse(1, 0, Raw(b"\x0a\x00"))
        ),
        "4a0608011a020a00",
    ),
    (
        ControlCommand(
            UID,
            unsubscribe=control.Unsubscribe(
                "room:7", "u7", code=2000, reason="server unsubscribe"
            ),
        ),
        "2a230a06726f6f6d3a371202753728d00f321273657276657220756e737562736372696265",
    ),
    (
        ControlCommand(
            UID,
            disconnect=control.Disconnect("u7", code=3503, reason="force disconnect"),
        ),
        "32190a02753718af1b2210666f72636520646973636f6e6e656374",
    ),
)


class ControlTests(SynchronousTestCase):
    """Control commands on the wire."""

    def test_encode(self) -> None:
        """Commands are written as the reference writes them."""
        for command, written in VECTORS:
            self.assertEqual(control.encode(command).hex(), SENDER + written)

    def test_decode(self) -> None:
        """Commands are read back, and the part that is set is found."""
        for command, written in VECTORS:
            read = control.decode(bytes.fromhex(SENDER + written))
            self.assertEqual(read.uid, UID)
            for name in ControlCommand.__struct_fields__:
                present = getattr(command, name) is not None
                self.assertEqual(getattr(read, name) is not None, present, name)
            self.assertEqual(control.encode(read).hex(), SENDER + written)

    def test_subscribe(self) -> None:
        """A position and payloads survive."""
        subscribe = control.Subscribe(
            "u7",
            "room:7",
            channel_info=Raw(b'{"r":1}'),
            recover_since=StreamPosition(2**64 - 1, "e"),
        )
        read = control.decode(control.encode(ControlCommand(UID, subscribe=subscribe)))
        assert read.subscribe is not None
        self.assertEqual(bytes(read.subscribe.channel_info), b'{"r":1}')
        self.assertEqual(read.subscribe.recover_since, StreamPosition(2**64 - 1, "e"))

    def test_unknown_part(self) -> None:
        """A command of a newer node is read without its unknown parts."""
        read = control.decode(bytes.fromhex(SENDER + "f20600"))
        self.assertEqual(read, ControlCommand(UID))

    def test_malformed(self) -> None:
        """A truncated command is refused."""
        self.assertRaises(DecodeError, control.decode, bytes.fromhex(SENDER[:-2]))

    def test_channels_survey(self) -> None:
        """Question and answer of the survey of channels are read back."""
        question = control.encode_channels_request("room:*")
        self.assertEqual(question.hex(), "0a06" + b"room:*".hex())
        self.assertEqual(control.decode_channels_request(question), "room:*")
        answer = control.encode_channels_result({"a": 1, "b": 0})
        self.assertEqual(control.decode_channels_result(answer), {"a": 1, "b": 0})
        self.assertRaises(DecodeError, control.decode_channels_request, b"\x0a")
        self.assertRaises(DecodeError, control.decode_channels_result, b"\x0a")
