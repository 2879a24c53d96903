"""What schemathesis checks for us beside its own: every refusal says what docs/errors.md explains."""

from typing import Any

import schemathesis

from tests.api.test_fuzz import CODES, OURS_TO_BLAME


@schemathesis.check
def refusals_are_explained(_ctx, response, _case) -> None:
    """A code that is written down, and none that blames a database or a store: both are there."""
    if response.status_code < 400 or not response.content:
        return
    told = response.json()
    code = told["error"]["code"] if "error" in told else told["code"]
    assert code in CODES, f"{code} is not explained"
    assert code not in OURS_TO_BLAME, f"{code} is a fault of ours"


@schemathesis.hook
def before_load_schema(_ctx, raw_schema: dict[str, Any]) -> None:
    """Say of a tuple what each of its parts may be: the tool mistakes ``prefixItems`` for a faulty schema."""
    for schema in raw_schema["components"]["schemas"].values():
        for told in schema.get("properties", {}).values():
            if parts := told.get("items", {}).pop("prefixItems", None):
                told["items"]["items"] = {"anyOf": parts}
