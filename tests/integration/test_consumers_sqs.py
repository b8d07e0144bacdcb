"""SQS queues, on the server that moto brings."""

import json
import os
import socket
import subprocess
import sys
from importlib.util import find_spec
from typing import Any, ClassVar
from unittest import SkipTest
from unittest.mock import patch

from .consumer_case import ConsumerCase, blocks, lines_of, until
from .ports import free_port
from .server import Server

_KEYS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_EC2_METADATA_DISABLED": "true",
}


class QueueTests(ConsumerCase):
    """One node and its queues."""

    port: ClassVar[int]
    moto: "ClassVar[subprocess.Popen[bytes]]"

    @classmethod
    def setUpClass(cls) -> None:
        if find_spec("moto") is None or find_spec("flask") is None:
            raise SkipTest("moto's server is not installed")
        if find_spec("aiobotocore") is None:
            raise SkipTest("aiobotocore is not installed")
        cls.port = free_port()
        program = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1"]
        cls.moto = subprocess.Popen(
            [*program, "-p", str(cls.port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(cls._listens, "moto listens")

    @classmethod
    def _listens(cls) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", cls.port)) == 0

    @classmethod
    def tearDownClass(cls) -> None:
        cls.moto.kill()
        cls.moto.wait()

    def setUp(self) -> None:
        self.endpoint = f"http://127.0.0.1:{self.port}"
        keys = patch.dict(os.environ, {**_KEYS, "AWS_ENDPOINT_URL_STS": self.endpoint})
        keys.start()
        self.addCleanup(keys.stop)
        import boto3  # type: ignore[import-untyped]

        self.sqs = boto3.client(
            "sqs", region_name="us-east-1", endpoint_url=self.endpoint
        )

    def queue(self, name: str) -> str:
        """Create a queue; return its URL."""
        attributes = {"FifoQueue": "true"} if name.endswith(".fifo") else {}
        made = self.sqs.create_queue(QueueName=name, Attributes=attributes)
        return str(made["QueueUrl"])

    def sqs_node(self, *queues: str, **more: Any) -> Server:
        """Return a node that is not started."""
        options = {
            "queues": list(queues),
            "region": "us-east-1",
            "localstack_endpoint": self.endpoint,
            "wait_time_time": "1s",
            **more,
        }
        return self.node({"type": "aws_sqs", "aws_sqs": options})

    def left(self, url: str) -> int:
        """Return how many messages a queue has, seen or not."""
        names = [
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
        ]
        found = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)
        return sum(int(found["Attributes"][name]) for name in names)

    def test_commands(self) -> None:
        """Messages are run and deleted; those of a group in order; poison is left."""
        plain, ordered = self.queue("plain"), self.queue("ordered.fifo")
        node = self.sqs_node(plain, ordered, max_concurrency=4).start()
        attribute = {"DataType": "String", "StringValue": "publish"}
        for number in range(20):
            request = json.dumps({"channel": "c", "data": number})
            self.sqs.send_message(
                QueueUrl=ordered,
                MessageBody=request,
                MessageGroupId="group",
                MessageDeduplicationId=str(number),
                MessageAttributes={"centrifugo-method": attribute},
            )
        request = json.dumps(
            {"method": "publish", "payload": {"channel": "d", "data": 1}}
        )
        for body in ("{", request):
            self.sqs.send_message(QueueUrl=plain, MessageBody=body)
        until(
            lambda: not self.left(plain) and not self.left(ordered), "all are deleted"
        )
        self.assertEqual(self.published(node, "c"), [*range(20)])
        self.assertEqual(self.published(node, "d"), [1])
        self.assertEqual(len(lines_of(node, "skip malformed consumed message")), 1)
        self.assertEqual(node.stop(), 0)

    def test_publications(self) -> None:
        """Attributes name the target; SNS and an assumed role work."""
        url = self.queue("publications")
        node = self.sqs_node(
            url,
            sns_envelope=True,
            assume_role_arn="arn:aws:iam::123456789012:role/reader",
            publication_data_mode={"enabled": True},
        ).start()
        values = {"centrifugo-channels": "a,b", "centrifugo-tag-color": "red"}
        attributes = {
            name: {"DataType": "String", "StringValue": value}
            for name, value in values.items()
        }
        for body in ("no envelope", json.dumps({"Message": '{"x": 1}'})):
            self.sqs.send_message(
                QueueUrl=url, MessageBody=body, MessageAttributes=attributes
            )
        until(lambda: not self.left(url), "all are deleted")
        for channel in ("a", "b"):
            [each] = node.api("history", channel=channel, limit=-1)["publications"]
            self.assertEqual((each["data"], each["tags"]), ({"x": 1}, {"color": "red"}))
        self.assertEqual(len(lines_of(node, "failed to extract message data")), 1)

    def test_away(self) -> None:
        """A queue that comes later is read then; the log says it once."""
        url = f"{self.endpoint}/123456789012/late"
        node = self.sqs_node(url).start()
        failed = "consumer failed, trying again"
        until(lambda: lines_of(node, failed), "the log tells of it")
        self.queue("late")
        request = json.dumps(
            {"method": "publish", "payload": {"channel": "c", "data": 1}}
        )
        self.sqs.send_message(QueueUrl=url, MessageBody=request)
        until(lambda: self.published(node, "c") == [1], "it is read")
        self.assertEqual(len(lines_of(node, failed)), 1)
        self.assertEqual(len(lines_of(node, "consumer works again")), 1)

    def test_page(self) -> None:
        """The example of the page on consumers."""
        [config] = blocks("AWS SQS", "json")
        [send] = blocks("AWS SQS", "python")
        [consumer] = json.loads(config)["consumers"]
        url = self.queue("jobs.fifo")
        consumer["aws_sqs"].update(queues=[url], localstack_endpoint=self.endpoint)
        node = self.node(consumer).start()
        exec(send, {"sqs": self.sqs, "url": url, "json": json})
        until(
            lambda: self.published(node, "news") == [{"text": "Hello"}], "it is there"
        )
