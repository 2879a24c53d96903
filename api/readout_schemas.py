"""How a look at a dataset is answered: rows as the model will see them, and what they come to in tokens."""

from typing import Any

from pydantic import Field

from api.schemas import Schema


class SpanRead(Schema):
    """A stretch of an example's text."""

    text: str
    trained: bool = Field(description="Its tokens carry loss.")
    special: bool = Field(description="Written by the template, not by the dataset.")
    response: bool = Field(description="Said by the assistant, trained or not.")


class ExampleRead(Schema):
    """One example as the model will see it: cut at `max_length`."""

    tokens: int = Field(description="Before the cut.")
    kept_tokens: int = Field(description="What is trained with: at most `max_length`.")
    trained_tokens: int = Field(description="Tokens that carry loss; 0: the row is dropped.")
    truncated: bool
    shown_whole: bool = Field(description="False: only the first 32,768 characters are shown.")
    spans: list[SpanRead]


class FaultRead(Schema):
    """Why the template can't render a row; a job with such a row fails."""

    code: str
    detail: str


class RowRead(Schema):
    """A row, and the examples it becomes: several where a conversation is split."""

    row: int = Field(ge=1, description="Place in the dataset, from 1.")
    fault: FaultRead | None
    examples: list[ExampleRead]


class PreviewRead(Schema):
    """The first rows as the model will see them."""

    dataset: str
    model: str
    template: str = Field(description="What `auto` came to mean.")
    max_length: int = Field(description="Tokens kept of an example.")
    tokenizer_exact: bool = Field(
        description="False: the tokenizer is of a class that the run builds anew; a token a row may differ."
    )
    rows: list[RowRead]


class BinRead(Schema):
    """Examples of a range of lengths."""

    from_: int = Field(alias="from", description="Smallest length, in tokens.")
    to: int = Field(description="Largest length, in tokens.")
    examples: int


class LengthRead(Schema):
    """Lengths of examples in tokens, before the cut."""

    p50: int
    p95: int
    max: int
    mean: float
    histogram: list[BinRead] = Field(description="At most 20 ranges of one width, from 1 up.")


class AlphaRead(Schema):
    """The noise of one alpha: uniform, on whole examples, as in the paper."""

    alpha: float
    bound_at_p50: float = Field(description="Largest noise on a number, at the middle length.")
    bound_at_p95: float
    bound_largest: float = Field(description="At the shortest example, which gets the most.")
    noise_rms: float = Field(description="Root mean square over all tokens.")
    ratio: float | None = Field(description="Noise over embeddings: `noise_ratio` of a run.")


class NoiseRead(Schema):
    """What alpha comes to for these rows and this model."""

    channels: int | None = Field(description="Width of the token embedding.")
    embedding_rms: float | None = Field(description="Root mean square over the tokens of these rows.")
    unknown_because: str | None
    alphas: list[AlphaRead]


class SampledRead(Schema):
    """What was read of the dataset."""

    rows: int
    of: int = Field(description="Rows of the dataset.")
    whole: bool = Field(description="Every row was read, so the figures are exact.")
    how: str


class UnrenderableRead(Schema):
    """Rows that the template can't render; a job with one fails."""

    rows: int
    first: list[dict[str, Any]] = Field(description="Up to ten: `row` of the sample, `code`, `detail`.")


class TokensRead(Schema):
    """What the rows come to in tokens; of a large dataset by a sample."""

    dataset: str
    model: str
    template: str = Field(description="What `auto` came to mean.")
    max_length: int = Field(description="Tokens kept of an example.")
    tokenizer_exact: bool = Field(
        description="False: the tokenizer is of a class that the run builds anew; a token a row may differ."
    )
    sampled: SampledRead
    examples: int = Field(description="Of the rows that were read; several where a conversation is split.")
    dropped_rows: int = Field(description="Rows with no token to train on.")
    unrenderable: UnrenderableRead
    truncated: int = Field(description="Examples longer than `max_length`.")
    unended: int = Field(description="Examples that lose the end of an answer to the cut.")
    tokens_per_epoch: int = Field(description="Of the whole dataset, after the cut; by the sample.")
    trained_tokens_per_epoch: int = Field(description="Those that carry loss.")
    trained_share: float | None = Field(description="Trained tokens over all, 0 to 1.")
    length: LengthRead | None
    noise: NoiseRead
