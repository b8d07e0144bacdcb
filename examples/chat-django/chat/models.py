"""What has been said."""

from django.db import models


class Message(models.Model):
    """One message."""

    user = models.CharField(max_length=20)
    text = models.CharField(max_length=1000)
    at = models.DateTimeField(auto_now_add=True)

    def as_json(self) -> dict[str, object]:
        """Return what pages know of it."""
        return {
            "id": self.pk,
            "from": self.user,
            "text": self.text,
            "at": self.at.isoformat(),
        }
