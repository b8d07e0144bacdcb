"""Lets ``twistd`` know of the server: ``twistd centrifugo``."""

from twisted.application.service import ServiceMaker

centrifugo = ServiceMaker(
    "Centrifugo",
    "centrifugo_tx.launch",
    "Real-time messaging server, compatible with Centrifugo.",
    "centrifugo",
)
