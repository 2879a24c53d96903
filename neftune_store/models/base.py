"""What all tables share."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    DateTime,
    Double,
    MetaData,
    Text,
    func,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


def one_of(values: Any) -> str:
    """Write values as a list of SQL."""
    return "(" + ", ".join(f"'{value}'" for value in values) + ")"


SHA256 = "sha256 ~ '^[0-9a-f]{64}$'"
Json = dict[str, Any]
NOW = func.clock_timestamp()


class Base(DeclarativeBase):
    """What all tables share: names by convention, text without length, times with zone, jsonb."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it from the class
        str: Text(),
        datetime: DateTime(timezone=True),
        float: Double(),
        Json: JSONB(),
        list[Any]: JSONB(),
        list[str]: ARRAY(Text()),
    }
