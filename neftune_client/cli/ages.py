"""Times as people read them."""

from datetime import UTC, datetime

from neftune_client.curve import duration


def age(created: str, ended: str | None = None, now: datetime | None = None) -> str:
    """Say how long ago something was made, and how long it then took."""
    began = datetime.fromisoformat(created)
    ago = f"{duration(((now or datetime.now(UTC)) - began).total_seconds())} ago"
    if ended is None:
        return ago
    return f"{ago}, ended after {duration((datetime.fromisoformat(ended) - began).total_seconds())}"
