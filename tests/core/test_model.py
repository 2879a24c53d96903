"""Loading: only safe weights, no code of the model's own, adapters that fit, and right gradients in 4 bit."""

import json

import pytest
import torch
from transformers import FalconH1Config, FalconH1ForCausalLM

from neftune_core.errors import CustomCode, ModelError, SpecError, UnsafeWeights
from neftune_core.model import (
    check_lora,
    load_adapter,
    load_base,
    load_tokenizer,
    make_trainable,
    numerics_for,
)
from neftune_core.spec import LoraSpec
from tests.core.tiny import CONFIG, make_base, make_spec


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def loaded(base):
    return load_base(base, numerics_for(make_spec()))


@pytest.mark.fault("F39")
@pytest.mark.parametrize("damage", [lambda whole: whole[:-1000], lambda whole: b"\xff" * 8 + whole[8:]])
def test_damaged_weights_are_the_models_fault(damage, tmp_path):
    folder = make_base(tmp_path)
    (weights,) = folder.glob("*.safetensors")
    weights.write_bytes(damage(weights.read_bytes()))

    with pytest.raises(ModelError, match="damaged"):
        load_base(folder, numerics_for(make_spec()))


@pytest.mark.fault("F39")
def test_a_missing_config_is_the_models_fault(tmp_path):
    folder = make_base(tmp_path)
    (folder / "config.json").unlink()

    with pytest.raises(ModelError, match="no config"):
        load_base(folder, numerics_for(make_spec()))


def test_a_model_with_code_of_its_own_is_refused(tmp_path):
    folder = make_base(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps({**config, "auto_map": {"AutoModelForCausalLM": "evil.Model"}})
    )

    with pytest.raises(CustomCode):
        load_base(folder, numerics_for(make_spec()))
    with pytest.raises(CustomCode):
        load_tokenizer(folder)


def test_pickled_weights_are_refused(tmp_path):
    folder = make_base(tmp_path)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")

    with pytest.raises(UnsafeWeights):
        load_base(folder, numerics_for(make_spec()))


def test_a_base_keeps_no_cache_and_is_not_training(loaded):
    assert loaded.config.use_cache is False
    assert not loaded.training


def test_modules_that_take_no_adapter_are_told():
    config = FalconH1Config(
        **CONFIG, mamba_d_ssm=64, mamba_n_heads=4, mamba_d_head=16, mamba_n_groups=1, mamba_d_state=16
    )

    with pytest.raises(SpecError, match=r"name lora\.target_modules yourself.*out_proj"):
        make_trainable(FalconH1ForCausalLM(config), make_spec())


def test_modules_the_model_lacks_are_refused_with_those_it_has(loaded):
    with pytest.raises(SpecError, match=r"down_proj, embed_tokens, gate_proj.*q_proj"):
        check_lora(loaded, LoraSpec(target_modules=("q_proj", "query_key_value")))
    check_lora(loaded, LoraSpec(target_modules=("q_proj", "layers.0.mlp.up_proj")))


def test_a_name_is_no_pattern_and_no_part_of_a_name(loaded):
    with pytest.raises(SpecError):
        check_lora(loaded, LoraSpec(target_modules=("proj",)))


def test_a_rank_above_the_models_width_is_refused(loaded):
    check_lora(loaded, LoraSpec(r=64))
    with pytest.raises(SpecError, match="64 wide"):
        check_lora(loaded, LoraSpec(r=65))


def test_only_the_adapter_trains_and_in_fp32(base):
    spec = make_spec(training={"precision": "bf16"}, lora={"target_modules": ["q_proj"], "r": 4})

    model = make_trainable(load_base(base, numerics_for(spec)), spec)

    trained = {name: p.dtype for name, p in model.named_parameters() if p.requires_grad}
    assert len(trained) == 4  # A and B in two layers
    assert all("lora_" in name and dtype == torch.float32 for name, dtype in trained.items())
    assert model.get_input_embeddings().weight.dtype == torch.bfloat16


def test_an_adapter_is_loaded_to_answer_and_not_to_train(base, tmp_path):
    spec = make_spec(
        lora={"lora_dropout": 0.5, "r": 4, "lora_alpha": 12, "use_rslora": True, "use_dora": True}
    )
    numerics = numerics_for(spec)
    make_trainable(load_base(base, numerics), spec).save_pretrained(tmp_path, save_embedding_layers=False)

    model = load_adapter(load_base(base, numerics), tmp_path)

    assert [name for name, module in model.named_modules() if module.training] == []
    assert [name for name, parameter in model.named_parameters() if parameter.requires_grad] == []
    assert model.get_input_embeddings()._forward_hooks == {}
    # What was asked is what was made
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    asked = {"r": 4, "lora_alpha": 12, "lora_dropout": 0.5, "use_rslora": True, "use_dora": True}
    assert {name: config[name] for name in asked} == asked


def test_a_4_bit_base_is_quantised_as_asked(base):
    asked = {"type": "fp4", "double": False, "compute_dtype": "bf16"}
    model = load_base(base, numerics_for(make_spec(method="qlora", quantization=asked)))

    linear = model.model.layers[0].self_attn.q_proj
    state = linear.weight.quant_state
    assert (state.quant_type, state.nested, linear.compute_dtype) == ("fp4", False, torch.bfloat16)
    default = load_base(base, numerics_for(make_spec(method="qlora"))).model.layers[0].self_attn.q_proj
    assert (default.weight.quant_state.quant_type, default.weight.quant_state.nested) == ("nf4", True)


def test_an_evaluation_leaves_the_gradients_of_a_4_bit_base_as_they_were(base):
    """On CPUs with bf16 instructions bitsandbytes repacks weights when a model is asked in eval mode."""
    spec = make_spec(method="qlora")
    model = make_trainable(load_base(base, numerics_for(spec)), spec)
    ids = torch.arange(40).view(2, 20)

    def gradient():
        model.train()
        model.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    before = gradient()
    model.eval()
    with torch.no_grad():
        model(input_ids=ids)

    assert torch.equal(gradient(), before)


def test_a_gpu_that_is_not_there_is_refused():
    if torch.cuda.is_available():
        assert numerics_for(make_spec(resources={"gpus": 1})).device.type == "cuda"
    else:
        with pytest.raises(SpecError, match="this machine has none"):
            numerics_for(make_spec(resources={"gpus": 1}))
    assert numerics_for(make_spec(resources={"gpus": 0})).device.type == "cpu"
