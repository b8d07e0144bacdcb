"""What the reference publishes over Redis, byte for byte.

See engines, "Redis payloads".
"""

from centrifugo_tx.protocol.messages import ClientInfo, Publication, Raw

__all__ = ["CI", "LEAVER", "MALFORMED", "MESSAGES", "P0", "P1", "P2", "P3"]

EPOCH = "kQzWmRtY"

CI = ClientInfo("u7", "3f2a", conn_info=Raw(b'{"n":"Ada"}'))
LEAVER = ClientInfo(
    "u7", "3f2a", conn_info=Raw(b'{"n":"Ada"}'), chan_info=Raw(b'{"r":1}')
)

P0 = Publication(data=Raw(b'{"t":20}'), time=1790000000001)
P1 = Publication(data=Raw(b'{"t":21}'), time=1790000000123)
P2 = Publication(data=Raw(b'{"t":22}'), info=CI, tags={"k": "v"}, time=1790000000456)
P3 = Publication(
    data=Raw(bytes.fromhex("615f5f3a62ff00")), time=1790000000789, version=5
)

#: The Protobuf of each.
P1_HEX = "22087b2274223a32317d48fbd8c1a28c34"
P2_HEX = (
    "22087b2274223a32327d2a170a0275371204336632611a0b7b226e223a22416461227d"
    "3a060a016b12017648c8dbc1a28c34"
)
P3_HEX = "2207615f5f3a62ff004895dec1a28c34800105"
CI_HEX = "0a0275371204336632611a0b7b226e223a22416461227d"

#: The seven messages.
MESSAGES = [
    bytes.fromhex(text)
    for text in [
        "22087b2274223a32307d4881d8c1a28c34",
        "22087b2274223a32307d40014881d8c1a28c34",
        "5f5f64313a313a6b517a576d5274593a303a3a31373a" + P1_HEX,
        "5f5f70313a323a6b517a576d5274595f5f" + P2_HEX,
        "5f5f64313a333a6b517a576d5274593a35303a" + P2_HEX + "3a31393a" + P3_HEX,
        "5f5f6a5f5f" + CI_HEX,
        "5f5f6c5f5f" + CI_HEX + "22077b2272223a317d",
    ]
]

#: What must be rejected without harm.
MALFORMED = [
    b"__",
    b"__x1:1:e__" + bytes.fromhex(P1_HEX),
    b"__p__",
    b"__p1:abc:e__",
    b"__p1:7",
    b"__d1:1:e:9:ab",
    b"__d1:1:e:0::5:abc",
]
