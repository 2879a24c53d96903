"""The tokenizer: byte-level BPE trained on our text, and the chat template.

Every byte is a token of its own, so any text encodes. Digits stay apart, so that numbers are read one
digit at a time.
"""

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from .corpus import ASSISTANT, BOS, END, PAD, SPECIAL, SYSTEM, TOOL, USER
from .recipe import VOCABULARY

# Words with their space, single digits, runs of signs, and white space.
_PIECES = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

# Each message adds text at the end only, so a conversation cut short renders as a prefix of the whole.
CHAT_TEMPLATE = (
    "{{- bos_token }}"
    f"{{%- if tools %}}{{{{- '{SYSTEM}Tools: ' }}}}{{{{- tools | tojson }}}}{{{{- '{END}' }}}}{{%- endif %}}"
    "{%- for message in messages %}"
    f"{{{{- {{'system': '{SYSTEM}', 'user': '{USER}', 'assistant': '{ASSISTANT}', 'tool': '{TOOL}'}}"
    "[message['role']] }}"
    "{%- if message['content'] %}{{- message['content'] }}{%- endif %}"
    "{%- if message.get('tool_calls') %}{{- message['tool_calls'] | tojson }}{%- endif %}"
    f"{{{{- '{END}' }}}}"
    "{%- endfor %}"
    f"{{%- if add_generation_prompt %}}{{{{- '{ASSISTANT}' }}}}{{%- endif %}}"
)


def train(texts: Iterable[str]) -> Tokenizer:
    """Learn the vocabulary from the texts; equal texts give an equal tokenizer."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    return tokenizer


def settings() -> dict[str, object]:
    """Give what ``tokenizer_config.json`` says."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BOS,
        "eos_token": END,
        "pad_token": PAD,
        "additional_special_tokens": [SYSTEM, USER, ASSISTANT, TOOL],
        "model_max_length": 2048,
        "padding_side": "right",
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }
