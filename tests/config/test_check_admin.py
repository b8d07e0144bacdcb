"""Checks of the admin page: it needs credentials and paths of its own."""

from typing import Any

from .test_check import CheckCase

ADMIN: dict[str, Any] = {"enabled": True, "password": "p", "secret": "s"}


class AdminTests(CheckCase):
    """The section ``admin``."""

    def admin(self, **options: Any) -> dict[str, Any]:
        return {"admin": {**ADMIN, **options}}

    def test_fine(self) -> None:
        """With a password and a secret the page can be served, on either port."""
        for options in (
            *({}, {"external": True}, {"handler_prefix": "/admin"}),
            *({"password": "", "secret": "", "insecure": True}, {"web_path": "/tmp"}),
            {"web_proxy_address": "http://localhost:3000"},
        ):
            self.assertFine(self.admin(**options))
        self.assertFine(self.admin(enabled=False, password="", secret=""))

    def test_no_lock(self) -> None:
        """Without a password or a secret the server does not start."""
        self.assertProblem(self.admin(password=""), "admin.password: is empty")
        self.assertProblem(self.admin(secret=""), "admin.secret: is empty")
        self.assertProblem(
            self.admin(password="", secret=""),
            *("admin.password: is empty", "admin.secret: is empty"),
        )

    def test_files(self) -> None:
        """Other files must be there, and come from one place."""
        self.assertProblem(
            self.admin(web_path="/nowhere"), "admin.web_path: '/nowhere'"
        )
        for address in (
            "localhost:3000",
            "https://x",
            "http://",
            "http://x:99999",
            "x",
        ):
            self.assertProblem(
                self.admin(web_proxy_address=address),
                f"admin.web_proxy_address: {address!r} must be the URL",
            )
        both = self.admin(web_path="/tmp", web_proxy_address="http://x")
        self.assertProblem(both, "admin.web_proxy_address: cannot be used together")

    def test_paths(self) -> None:
        """Its paths must begin with a slash, and be unique."""
        self.assertProblem(
            self.admin(handler_prefix="x"), "admin.handler_prefix: 'x' must begin"
        )
        api = {"http_api": {"handler_prefix": "/"}, **self.admin()}
        self.assertProblem(api, "http_api.handler_prefix: '/' takes '/'")
        apart = {
            **api,
            "http_server": {"port": 8000, "internal_port": "9000"},
            **self.admin(external=True),
        }
        self.assertFine(apart)
