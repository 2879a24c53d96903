"""A model's tokenizer from its files alone, by ``tokenizers``: what templates and counts need, and no more.

The runner reads tokenizers by ``transformers``, which takes seconds and brings torch. For tokenizers that are
what their ``tokenizer.json`` says the two agree; of a class that the runner's library builds anew
(:attr:`LightTokenizer.exact` is false) they may differ by a token a row.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer

from neftune_core.errors import ModelError

_AS_WRITTEN = ("PreTrainedTokenizerFast", "TokenizersBackend", None)
_NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_MOST_BYTES = 64 * 1024**2


class LightTokenizer:
    """What :mod:`neftune_core.prompts` and :mod:`neftune_core.tokenise` ask of a tokenizer."""

    def __init__(self, backend: Tokenizer, config: Mapping[str, Any], chat_template: Any) -> None:
        self.backend_tokenizer = backend
        self.chat_template = chat_template
        self.exact = config.get("tokenizer_class") in _AS_WRITTEN
        named = {name: _text(config.get(name)) for name in _NAMED}
        self.bos_token, self.eos_token = named["bos_token"], named["eos_token"]
        self.special_tokens_map: dict[str, Any] = {name: token for name, token in named.items() if token}
        more = config.get("extra_special_tokens") or config.get("additional_special_tokens") or ()
        self._more = [token for one in _values(more) if (token := _text(one))]
        self.all_special_tokens = [*self.special_tokens_map.values(), *self._more]

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """Give the tokens that stand beside the vocabulary."""
        return self.backend_tokenizer.get_added_tokens_decoder()

    @property
    def all_special_ids(self) -> list[int]:
        """List the ids of the special tokens."""
        found = map(self.backend_tokenizer.token_to_id, self.all_special_tokens)
        return [number for number in found if number is not None]

    @property
    def bos_token_id(self) -> int | None:
        """Give the id of the token that begins a text."""
        return self._id(self.bos_token)

    @property
    def unk_token_id(self) -> int | None:
        """Give the id that any strange character becomes."""
        return self._id(self.special_tokens_map.get("unk_token"))

    def _id(self, token: str | None) -> int | None:
        return None if token is None else self.backend_tokenizer.token_to_id(token)


def read_tokenizer(model_dir: Path) -> LightTokenizer:
    """Read the tokenizer of a model's folder."""
    path = model_dir / "tokenizer.json"
    if not path.is_file():
        raise ModelError("The model has no fast tokenizer (tokenizer.json); convert it once and save it.")
    if path.stat().st_size > _MOST_BYTES:
        raise ModelError("tokenizer.json of the model is unreasonably large.")
    try:
        backend = Tokenizer.from_file(str(path))
    except Exception:  # what the library raises is no narrower
        raise ModelError("tokenizer.json of the model can't be read.") from None
    config = {**_json(model_dir / "special_tokens_map.json"), **_json(model_dir / "tokenizer_config.json")}
    tokenizer = LightTokenizer(backend, config, _chat_template(model_dir, config))
    _add_special(tokenizer)
    return tokenizer


def _add_special(tokenizer: LightTokenizer) -> None:
    """Let what the configuration calls special be one token, as the runner's library does."""
    known = {token.content for token in tokenizer.added_tokens_decoder.values()}
    missing = [token for token in tokenizer.all_special_tokens if token not in known]
    if missing:
        tokenizer.backend_tokenizer.add_special_tokens(missing)


def _chat_template(model_dir: Path, config: Mapping[str, Any]) -> Any:
    """Give the template, or several by name; a file beside the configuration goes before it."""
    path = model_dir / "chat_template.jinja"
    if path.is_file() and path.stat().st_size <= _MOST_BYTES:
        return path.read_text()
    source = config.get("chat_template") or _json(model_dir / "chat_template.json").get("chat_template")
    if isinstance(source, list):
        return {one["name"]: one["template"] for one in source if isinstance(one, dict)}
    return source


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file() or path.stat().st_size > _MOST_BYTES:
        return {}
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise ModelError(f"{path.name} of the model is not valid JSON.") from None
    return value if isinstance(value, dict) else {}


def _values(several: Any) -> Any:
    return several.values() if isinstance(several, Mapping) else several


def _text(token: Any) -> str | None:
    if isinstance(token, Mapping):
        token = token.get("content")
    return token if isinstance(token, str) and token else None
