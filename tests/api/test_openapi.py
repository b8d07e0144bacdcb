"""The OpenAPI document: valid, complete, and equal to the decoded types."""

import json
from importlib.util import find_spec
from typing import Any
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from centrifugo_tx.api import METHODS
from centrifugo_tx.api.api_json import decode
from centrifugo_tx.api.openapi import EXAMPLES, openapi


def document(insecure: bool = False) -> dict[str, Any]:
    """Return a document."""
    return openapi("1.2.3", {"url": "/api"}, insecure)


class DocumentTests(SynchronousTestCase):
    """The whole of it."""

    @skipUnless(find_spec("openapi_spec_validator"), "its validator is not installed")
    def test_valid(self) -> None:
        """It is a valid OpenAPI document, with a key and without."""
        from openapi_spec_validator import validate

        for insecure in (False, True):
            validate(json.loads(json.dumps(document(insecure))))

    def test_methods(self) -> None:
        """It has each method of the table, and no other."""
        self.assertEqual(set(EXAMPLES), set(METHODS))
        self.assertEqual(list(document()["paths"]), [f"/{name}" for name in EXAMPLES])

    def test_key(self) -> None:
        """It asks for a key unless the API does not."""
        self.assertEqual(document()["security"], [{"key": []}])
        self.assertNotIn("security", document(insecure=True))

    def test_examples(self) -> None:
        """Each example is decoded as its method's request, with nothing left over."""
        for name, (_, example) in EXAMPLES.items():
            request = METHODS[name].request
            decode(json.dumps(example).encode(), request)
            self.assertLessEqual(set(example), set(request.__struct_fields__), name)

    def test_schemas(self) -> None:
        """Each reference leads somewhere; fields have the types of the structs."""
        schemas = document()["components"]["schemas"]
        referred = set(references(document()))
        self.assertLessEqual(referred, set(schemas))
        self.assertEqual(referred, set(schemas), "a schema that nothing refers to")
        publish = schemas["PublishRequest"]["properties"]
        self.assertEqual(publish["channel"], {"type": "string"})
        self.assertEqual(publish["b64data"]["contentEncoding"], "base64")
        self.assertNotIn("type", publish["data"])
        self.assertEqual(
            publish["tags"],
            {"type": "object", "additionalProperties": {"type": "string"}},
        )
        limit = schemas["HistoryRequest"]["properties"]["limit"]
        self.assertEqual((limit["minimum"], limit["maximum"]), (-(2**31), 2**31 - 1))
        self.assertEqual(
            schemas["HistoryResult"]["required"], ["publications", "epoch", "offset"]
        )
        self.assertEqual(
            set(schemas["Reply"]["properties"]), {*METHODS, "error"} - {"batch"}
        )


def references(part: Any) -> list[str]:
    """Return the names that *part* refers to."""
    if isinstance(part, dict):
        own = [part["$ref"].rpartition("/")[2]] if "$ref" in part else []
        return own + [name for each in part.values() for name in references(each)]
    if isinstance(part, list):
        return [name for each in part for name in references(each)]
    return []
