"""Faults of storage, said in our words."""

from collections.abc import Iterator
from contextlib import contextmanager

from obstore.exceptions import BaseError
from obstore.exceptions import NotFoundError as ObstoreNotFound

from neftune_store.errors import BlobNotFound, StorageUnavailable, StoreError


@contextmanager
def in_our_words(missing: type[StoreError] = BlobNotFound) -> Iterator[None]:
    """Say a fault of storage in our words; when writing, a missing thing is the bucket or the folder."""
    try:
        yield
    except (ObstoreNotFound, FileNotFoundError) as fault:
        raise missing from fault
    except (BaseError, OSError) as fault:
        raise StorageUnavailable from fault
