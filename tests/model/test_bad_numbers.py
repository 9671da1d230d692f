"""Numbers of a configuration of which no decoder can be made: every field of every family in turn."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFReader, GGUFWriter

from llmrt.errors import CheckpointError
from llmrt.model.checkpoints.config_files import read_config
from llmrt.model.checkpoints.gguf.headers import GgufHeaders
from llmrt.model.config import LinearScaling, ModelConfig, YarnScaling
from llmrt.model.families.registry import read_model_config
from llmrt.model.fields import Fields
from tests import gguf_files
from tests.gguf_files import SHAPE as GGUF_SHAPE
from tests.gguf_files import write_gguf
from tests.tiny import CLASSES, SHAPE, classes, make_model

ROPE: dict[str, dict[str, Any]] = {
    "linear": {"factor": 4.0},
    "dynamic": {"factor": 4.0},
    "llama3": {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
    "yarn": {"factor": 4.0, "beta_fast": 32.0, "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0},
    "longrope": {"factor": 4.0, "short_factor": [1.0] * 6, "long_factor": [2.0] * 6},
}
ORIGINAL = {"original_max_position_embeddings": 64}
HALF = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}}
MORE: dict[str, dict[str, Any]] = {
    "gpt_neox": HALF,
    "stablelm": HALF,
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "opt": {"word_embed_proj_dim": None},
    "gptj": {"rotary_dim": 8},
}
NO_NUMBERS = (math.nan, math.inf, -math.inf, 10**400)
ODD_NUMBERS = (0, -1, 1, 3, 0.0, -0.5, 1e308, 1e-308, 2**31, 10**9, 2**64, True, None, "1", [], {})
Place = tuple[str | int, ...]


def config_of(name: str) -> dict[str, Any]:
    """The config.json of a family, or of a Llama with a scaling."""
    family = "llama" if name in ROPE else name
    fields = classes(family)[0](**SHAPE, **MORE.get(family, {})).to_dict()
    if name in ROPE:
        fields["rope_parameters"] = {"rope_type": name, "rope_theta": 1e4, **ORIGINAL, **ROPE[name]}
    return fields


def numbers(value: Any, path: Place = ()) -> Iterator[Place]:
    """Where the numbers are."""
    if type(value) in (int, float):
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for name, inner in items:
        yield from numbers(inner, (*path, name))


def changed(fields: dict[str, Any], path: Place, value: object) -> dict[str, Any]:
    changed = inner = copy.deepcopy(fields)
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    return changed


def read(fields: dict[str, Any]) -> ModelConfig | None:
    """None for what is refused as it should be."""
    try:
        return read_model_config(Fields(fields, "config.json"))
    except CheckpointError as error:
        assert str(error).startswith("config.json: ") and len(str(error)) <= 2000
        return None


@pytest.mark.parametrize("name", [*CLASSES, *ROPE])
def test_what_is_no_number_is_refused_where_it_is_read(name: str) -> None:
    fields = config_of(name)
    whole = read_model_config(Fields(fields, "config.json"))
    for path in numbers(fields):
        for value in NO_NUMBERS:
            assert read(changed(fields, path, value)) in (None, whole), (path, value)
        for value in ODD_NUMBERS:
            read(changed(fields, path, value))


REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "epsilon": ("llama", {"rms_norm_eps": -1e-6}, "rms_norm_eps is -1e-06; it must not be below 0"),
    "base": ("llama", {"rope_theta": 0}, "rope_theta is 0.0; it must be above 0"),
    "layers": ("llama", {"num_hidden_layers": 10**9}, "num_hidden_layers is 1000000000; .* at most 4096"),
    "experts": ("mixtral", {"num_local_experts": 10**9}, "num_local_experts is 1000000000; .* at most 4096"),
    "heads": ("bloom", {"n_head": 10**9}, "n_head is 1000000000; .* at most 4096"),
    "size": ("llama", {"vocab_size": 2**40}, "vocab_size is 1099511627776; .* at most 2147483647"),
    "scores": ("gemma2", {"query_pre_attn_scalar": 0}, "query_pre_attn_scalar is 0.0; it must be above 0"),
    "logits": ("granite", {"logits_scaling": 0}, "logits_scaling is 0.0; it must be above 0"),
    "rotated": ("gptj", {"rotary_dim": 7}, "7 of 12 dimensions of a head would be rotated"),
    "ramp": ("yarn", {"rope_theta": 1.0}, "base above 1"),
    "blend": ("llama3", {"low_freq_factor": 4.0}, "low_freq_factor is 4.0; it must be below high_freq_factor"),
    "stretch": ("dynamic", {"factor": 1e30}, "factor is 1e.30; it must be above 0 and at most 8388607"),
    "too few": ("longrope", {"short_factor": [1.0]}, "1 factors are for RoPE's 6 frequencies"),
    "no divisor": ("longrope", {"long_factor": [0.0] * 6}, "a number of long_factor is 0.0; it must be above 0"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_names_its_field(case: str) -> None:
    name, changes, message = REFUSED[case]
    fields = config_of(name)
    inner = fields["rope_parameters"] if name in ROPE or "rope_theta" in changes else fields
    inner.update(changes)
    with pytest.raises(CheckpointError, match=rf"config\.json: .*{message}"):
        read_model_config(Fields(fields, "config.json"))


def test_zeros_that_can_be_computed_with_are_read() -> None:
    assert read_model_config(Fields(config_of("llama") | {"rms_norm_eps": 0}, "config.json")).norm_eps == 0.0
    scaled = config_of("yarn")
    whole = read_model_config(Fields(scaled, "config.json"))
    scaled["rope_parameters"] |= {"beta_fast": 0, "beta_slow": 0}  # absent, as transformers reads them
    assert read_model_config(Fields(scaled, "config.json")) == whole


@pytest.fixture
def edit(tmp_path: Path) -> Callable[..., Path]:
    rope = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 64}
    sizes = {"num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 16}
    path = write_gguf(
        make_model("mixtral", **{**SHAPE, **GGUF_SHAPE, **sizes, "rope_parameters": rope}), tmp_path / "a.gguf"
    )

    def edit(name: str, value: float) -> Path:
        """Put ``value`` in the place of a number of the file."""
        field = GGUFReader(path).fields[f"llama.{name}"]
        at = field.offset + sum(part.nbytes for part in field.parts[:-1])
        content = bytearray(path.read_bytes())
        stored = np.array([value], np.float64).astype(field.parts[-1].dtype).tobytes()
        content[at : at + len(stored)] = stored
        path.write_bytes(content)
        return path

    return edit


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("block_count", 2**32 - 1, "block_count is 4294967295; it must be above 0 and at most 4096"),
        ("expert_count", 2**32 - 1, "expert_count is 4294967295; it must be above 0 and at most 4096"),
        ("expert_used_count", 5, "a token passes through 5 experts, of which there are 4"),
        ("attention.head_count_kv", 0, "attention.head_count_kv is 0; it must be above 0"),
        ("attention.head_count_kv", 3, "4 heads are not a multiple of 3 heads of keys and values"),
        ("attention.layer_norm_rms_epsilon", math.nan, "attention.layer_norm_rms_epsilon is nan; .* finite"),
        ("attention.layer_norm_rms_epsilon", -1, "attention.layer_norm_rms_epsilon is -1.0; it must not be below 0"),
        ("rope.freq_base", 0, "rope.freq_base is 0.0; it must be above 0"),
        ("rope.dimension_count", 7, "7 of 16 dimensions of a head would be rotated"),
        ("rope.dimension_count", 18, "18 of 16 dimensions"),
        ("rope.scaling.factor", -1, "rope.scaling.factor is -1.0; it must not be below 0"),
        ("rope.scaling.factor", math.inf, "rope.scaling.factor is inf; .* finite"),
    ],
)
def test_a_number_of_a_gguf_file_is_refused_by_name(
    edit: Callable[..., Path], name: str, value: float, message: str
) -> None:
    path = edit(name, value)
    for read in (read_config, GgufHeaders):
        with pytest.raises(CheckpointError, match=rf"a\.gguf: (GGUF field llama\.)?{message}"):
            read(path)


def test_a_factor_of_0_in_a_gguf_file_scales_nothing(edit: Callable[..., Path]) -> None:
    path = edit("rope.scaling.factor", 0)
    assert read_config(path).rope.scaling == YarnScaling(1.0, original_context=64, attention_factor=1.0)
    path.write_bytes(path.read_bytes().replace(b"yarn", b"none"))
    assert read_config(path).rope.scaling is None


@pytest.mark.parametrize("field", ["rope.scaling.factor", "rope.scale_linear"])
def test_a_factor_without_a_type_in_a_gguf_file_is_linear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    monkeypatch.setattr(gguf_files, "add_rope", lambda writer, _: writer.add_float32(f"llama.{field}", 4.0))
    path = write_gguf(make_model("llama", **{**SHAPE, **GGUF_SHAPE}), tmp_path / "a.gguf")
    assert read_config(path).rope.scaling == LinearScaling(4.0)


def test_of_two_epsilons_of_a_gguf_file_one_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def both(writer: GGUFWriter, _: object) -> None:
        writer.add_layer_norm_rms_eps(0.0)
        writer.add_layer_norm_eps(-1.0)

    monkeypatch.setattr(gguf_files, "add_norm_eps", both)
    path = write_gguf(make_model("llama", **{**SHAPE, **GGUF_SHAPE}), tmp_path / "a.gguf")
    assert read_config(path).norm_eps == 0.0


def test_an_error_of_a_gguf_file_names_the_link_that_was_opened(edit: Callable[..., Path], tmp_path: Path) -> None:
    link = tmp_path / "link.gguf"
    link.symlink_to(edit("block_count", 0))
    with pytest.raises(CheckpointError, match=rf"^{re.escape(str(link))}: GGUF field llama\.block_count is 0"):
        read_config(link)
