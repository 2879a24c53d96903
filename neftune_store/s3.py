"""Buckets: how one is opened, and URLs with which a client may read one object of it for a minute."""

from datetime import timedelta
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

import obstore
from obstore.store import S3Store

from neftune_store.blob_faults import in_our_words
from neftune_store.errors import StorageUnavailable
from neftune_store.settings import StoreSettings

if TYPE_CHECKING:
    from obstore.store import S3Config

READ_SECONDS = 15.0  # how long a read may be silent
RETRY_SECONDS = 20.0  # how long a request that may be repeated is
SIGNED_SECONDS = 60  # how long a signed URL may be used; what has begun goes on


def bucket_of(settings: StoreSettings, endpoint: str | None = None) -> S3Store:
    """Open the bucket the settings name: path style, for that is what every S3-compatible store speaks.

    The timeouts bound a request, the retries bound how long storage may be away before we say so.
    ``endpoint``: where it is found instead of where the settings say.
    """
    url = urlsplit(settings.storage_url)
    keys: S3Config = {
        "region": settings.aws_region,
        "virtual_hosted_style_request": False,
        # CompleteMultipartUpload with If-None-Match: more stores know it there than with CopyObject.
        "copy_if_not_exists": "multipart",
    }
    if settings.aws_access_key_id is not None and settings.aws_secret_access_key is not None:
        keys["access_key_id"] = settings.aws_access_key_id.get_secret_value()
        keys["secret_access_key"] = settings.aws_secret_access_key.get_secret_value()
    if (found := endpoint or settings.s3_endpoint_url) is not None:
        keys["endpoint"] = found
    return S3Store(
        url.netloc,
        prefix=url.path.strip("/") or None,
        config=keys,
        client_options={
            "allow_http": True,
            "connect_timeout": timedelta(seconds=3),
            "read_timeout": timedelta(seconds=READ_SECONDS),
            "timeout": timedelta(seconds=300),  # one part or one stream, not a whole upload
        },
        retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=RETRY_SECONDS)},
    )


class SignedUrls:
    """Lets clients read objects from storage themselves. Whoever has such a URL may use it: log none."""

    def __init__(self, store: S3Store) -> None:
        self._store = store

    @classmethod
    def open(cls, settings: StoreSettings, public: str | None) -> Self | None:
        """Sign for the address at which clients reach the bucket; a folder has none and signs nothing."""
        if public is None or not settings.storage_url.startswith("s3://"):
            return None
        return cls(bucket_of(settings, public))

    def to_read(self, key: str, seconds: int = SIGNED_SECONDS) -> str:
        """Make a URL that gives this object, and no other, to a GET; storage is not asked."""
        with in_our_words(missing=StorageUnavailable):
            return obstore.sign(self._store, "GET", key, timedelta(seconds=seconds))
