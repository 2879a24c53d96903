"""Examples in one row cannot see each other, and a model that would let them is never packed."""

import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM

from neftune_core import packed_attention
from neftune_core.batches import Arrangement, lay
from neftune_core.losses import LossHead
from neftune_core.packed_attention import NAME, CannotPack, packed_row, use_packed_attention
from tests.core.test_batches import make_examples
from tests.core.tiny import CONFIG, make_base

CPU = torch.device("cpu")
PACKED = Arrangement(8, pad_id=0, rows="packed")


def made(kind, **config):
    """Make a random model of a kind, as its library would."""
    torch.manual_seed(0)
    shape = {key: value for key, value in CONFIG.items() if key != "initializer_range"}
    class_ = getattr(transformers, f"{kind}ForCausalLM")
    return class_._from_config(class_.config_class(**{**shape, **config}), dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture
def model(base):
    model = AutoModelForCausalLM.from_pretrained(base)
    assert use_packed_attention(model, CPU) is None
    return model


def losses_of_each(model, examples, arrangement=PACKED):
    """Give each example's token losses, in the order in which they are trained."""
    batch = lay(examples, arrangement)
    with torch.no_grad():
        losses = LossHead(model, CPU)(batch).loss_M
    return losses.split([example.trained_tokens for example in examples])


# What the losses must be


def test_a_packed_row_pays_what_each_example_pays_alone(base, model):
    examples = make_examples(6)
    plain = AutoModelForCausalLM.from_pretrained(base)

    together = losses_of_each(model, examples)

    for example, found in zip(examples, together, strict=True):
        [alone] = losses_of_each(plain, [example], Arrangement(1, 0))
        assert torch.allclose(found, alone, rtol=0, atol=2e-6)


@pytest.mark.parametrize("changed", [0, 2, 5])
def test_changing_one_example_of_a_row_changes_no_bit_of_the_others(changed, model):
    examples = list(make_examples(6))
    before = losses_of_each(model, examples)
    examples[changed] = replaced(examples[changed])

    after = losses_of_each(model, examples)

    for number, (one, other) in enumerate(zip(before, after, strict=True)):
        assert torch.equal(one, other) == (number != changed)


def replaced(example):
    """Give an example of the same length with other tokens."""
    ids = example.ids.copy()
    ids[1:] = 5 + (ids[1:] + 7) % 300
    return type(example)(**{**vars(example), "ids": ids})


@pytest.mark.parametrize("window", [None, 4])
def test_gradients_of_a_packed_row_are_those_of_its_examples(window):
    config = {"sliding_window": window, "attention_dropout": 0.0}
    examples = make_examples(5)
    gradients = []
    for arrangement in (Arrangement(1, 0), PACKED):
        model = made("Mistral", **config).train()
        if arrangement is PACKED:
            assert use_packed_attention(model, CPU) is None
        size = arrangement.micro_batch_size
        for start in range(0, len(examples), size):
            LossHead(model, CPU)(lay(examples[start : start + size], arrangement)).loss_M.sum().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])

    for alone, together in zip(*gradients, strict=True):
        assert torch.allclose(alone, together, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("reentrant", [True, False])
def test_recomputed_activations_keep_the_examples_apart(reentrant, base):
    """The backward pass calls the layers again, when the forward pass and its block are over."""
    gradients = []
    for recomputes in (False, True):
        model = AutoModelForCausalLM.from_pretrained(base).train()
        assert use_packed_attention(model, CPU) is None
        if recomputes:
            model.activation_checkpointing_enable(
                activation_checkpointing_kwargs={"use_reentrant": reentrant}
            )
        LossHead(model, CPU)(lay(make_examples(5), PACKED)).loss_M.sum().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])

    for plain, recomputed in zip(*gradients, strict=True):
        assert torch.equal(plain, recomputed)


# The two silent leaks


def logits_of_two(model, first, second, **given):
    """Ask a model about a row of two examples; give the logits of the second one."""
    ids = torch.cat([first, second])[None]
    places = torch.cat([torch.arange(len(first)), torch.arange(len(second))])[None]
    with torch.no_grad(), packed_row([len(first), len(second)]):
        return model(input_ids=ids, position_ids=places, **given).logits[0, len(first) :]


@pytest.mark.parametrize(
    "leak",
    [{"use_cache": True}, {"use_cache": False, "attention_mask": torch.ones(1, 19, dtype=torch.int64)}],
    ids=["a cache", "an all-ones mask"],
)
def test_what_makes_the_library_leak_does_not_make_ours(leak, base, model):
    stock = AutoModelForCausalLM.from_pretrained(base)
    first, other, second = torch.arange(5, 15), torch.arange(205, 215), torch.arange(100, 109)

    moved = [
        float(
            (logits_of_two(asked, first, second, **leak) - logits_of_two(asked, other, second, **leak))
            .abs()
            .max()
        )
        for asked in (stock, model)
    ]

    assert moved[0] > 1e-2  # the trap is there
    assert moved[1] == 0


def test_a_batch_never_asks_for_a_cache_nor_gives_a_packed_row_a_mask(model):
    asked = []
    model.model.register_forward_pre_hook(lambda _, _args, given: asked.append(given), with_kwargs=True)
    model.config.use_cache = True
    head = LossHead(model, CPU)
    asked.clear()

    for rows in ("right", "left", "packed"):
        head(lay(make_examples(3), Arrangement(8, 0, rows)))

    assert [given["use_cache"] for given in asked] == [False] * 3
    assert [given.get("attention_mask") is None for given in asked] == [False, False, True]
    assert [given.get("position_ids") is None for given in asked] == [True, False, False]


def test_a_layer_that_gets_another_mask_in_a_packed_row_says_so(model):
    own = torch.ones(1, 1, 19, 19, dtype=torch.bool)

    with pytest.raises(CannotPack, match="masks of its own"):
        logits_of_two(model, torch.arange(5, 15), torch.arange(100, 109), attention_mask=own)


def test_a_row_of_another_length_than_was_told_says_so(model):
    with pytest.raises(CannotPack, match="not the one"), packed_row([3, 4]):
        model(input_ids=torch.arange(9)[None], use_cache=False)


def test_under_autocast_the_one_kernel_is_asked_in_half_precision(base, monkeypatch):
    """Full training in bf16 keeps fp32 weights, and rotation gives back fp32 queries and keys."""
    model = AutoModelForCausalLM.from_pretrained(base)
    asked, given = [], []
    one_kernel_does, sdpa = packed_attention._one_kernel_does, packed_attention._sdpa

    def noted(query, value, others):
        asked.append((query.dtype, value.dtype))
        return one_kernel_does(query, value, others)

    def attend(module, query, key, value, *others, **more):
        given.append({query.dtype, key.dtype, value.dtype})
        return sdpa(module, query, key, value, *others, **more)

    monkeypatch.setattr(packed_attention, "_one_kernel_does", noted)
    monkeypatch.setattr(packed_attention, "_sdpa", attend)
    assert use_packed_attention(model, CPU, autocast=True) is None

    half, whole = torch.bfloat16, torch.float32
    assert set(asked) == {(whole, whole), (half, half)}  # it was tried both ways
    assert {half} in given


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="the kernel for all examples at once needs CUDA")
@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("autocast", [False, True])
def test_one_kernel_for_all_examples_gives_what_each_gives_alone(autocast, window, monkeypatch):
    model = made("Mistral", sliding_window=window, head_dim=32)
    model.to("cuda", torch.float32 if autocast else torch.bfloat16)
    assert use_packed_attention(model, torch.device("cuda"), autocast=autocast) is None
    batch = lay(make_examples(6), PACKED).to(torch.device("cuda"))
    told = []
    for at_once in (True, False):
        if not at_once:
            monkeypatch.setattr(packed_attention, "_one_kernel_does", lambda *_: False)
        model.zero_grad()
        with torch.autocast("cuda", torch.bfloat16, enabled=autocast):
            losses = LossHead(model, torch.device("cuda"))(batch).loss_M
        losses.sum().backward()
        told.append((losses.detach(), model.model.layers[0].self_attn.q_proj.weight.grad.float()))

    (one, one_grad), (other, other_grad) = told
    assert torch.allclose(one, other, rtol=0, atol=5e-2)
    assert (one_grad - other_grad).norm() <= 5e-2 * other_grad.norm()


# Which models may


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("Llama", {}),
        ("Mistral", {"sliding_window": 4}),
        ("Qwen2", {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1}),
        ("Gemma3", {"head_dim": 16, "sliding_window": 4}),
        ("Granite", {"embedding_multiplier": 12.0}),
        ("Mixtral", {"num_local_experts": 4}),
    ],
)
def test_models_whose_numbers_stay_are_packed(kind, config):
    model = made(kind, **config)

    assert use_packed_attention(model, CPU) is None
    assert model.config._attn_implementation == NAME


@pytest.mark.parametrize(
    ("kind", "config", "why"),
    [
        ("Lfm2", {"layer_types": ["conv", "full_attention"]}, "sees another"),  # convolutions
        ("FalconH1", {"mamba_d_ssm": 64, "mamba_n_heads": 4, "mamba_d_head": 16}, "sees another"),  # states
        ("Falcon", {"alibi": True}, "sees another"),  # attention code of its own
        ("Llama4", {"head_dim": 16, "attention_chunk_size": 8}, "not a sliding window"),
        ("Bloom", {"n_head": 4, "n_layer": 2}, "'eager'"),  # biases by distance
        ("Gemma2", {"head_dim": 16}, "'eager'"),  # capped scores
    ],
)
def test_models_that_would_leak_are_left_as_they_were(kind, config, why):
    model = made(kind, **config)
    own = model.config._attn_implementation

    assert why in use_packed_attention(model, CPU)
    assert model.config._attn_implementation == own


def test_a_packed_row_for_a_model_that_was_not_tried_is_refused(base):
    model = AutoModelForCausalLM.from_pretrained(base)

    with pytest.raises(ValueError, match="see each other"):
        LossHead(model, CPU)(lay(make_examples(2), PACKED))


def test_learned_positions_that_run_on_through_a_row_are_found_out():
    model = made("OPT", ffn_dim=128, word_embed_proj_dim=64)
    assert use_packed_attention(model, CPU) is None
    model.set_attn_implementation("sdpa")
    # Given the same model, but one that counts places by itself
    model.model.decoder.register_forward_pre_hook(
        lambda _, args, given: (args, {**given, "position_ids": None}), with_kwargs=True
    )

    assert "other logits than alone" in use_packed_attention(model, CPU)


def test_half_precision_hides_no_leak():
    leaky, tight = made("Lfm2", layer_types=["conv", "full_attention"]).bfloat16(), made("Llama").bfloat16()

    assert "sees another" in use_packed_attention(leaky, CPU)
    assert use_packed_attention(tight, CPU) is None


def test_outside_packed_rows_a_switched_model_computes_the_same_bits(base, model):
    stock = AutoModelForCausalLM.from_pretrained(base)
    batch = lay(make_examples(4), Arrangement(4, 0))

    with torch.no_grad():
        one, other = (LossHead(asked, CPU)(batch).loss_M for asked in (stock, model))

    assert torch.equal(one, other)


def test_a_switched_model_is_saved_as_any_other(tmp_path, model):
    model.save_pretrained(tmp_path)

    assert NAME not in (tmp_path / "config.json").read_text()
