"""Every operation, with its candidates in order of preference; its contract is what the reference says."""

from __future__ import annotations

from torch import Tensor

from llmrt.ops.native import native, native_rows
from llmrt.ops.triton import torch_on_gpu, triton
from llmrt.ops.types import Activations, Op, reference
from llmrt_kernels.cpu import argmax as cpu_argmax
from llmrt_kernels.cpu import attention as cpu_attention
from llmrt_kernels.cpu import linear as cpu
from llmrt_kernels.cpu import lora as cpu_lora
from llmrt_kernels.cpu import moe as cpu_moe
from llmrt_kernels.cpu import quantize as cpu_quantize
from llmrt_kernels.cpu import residual as cpu_residual
from llmrt_kernels.cpu import sample as cpu_sample
from llmrt_kernels.reference.add_rows import add_rows
from llmrt_kernels.reference.add_scaled import add_scaled
from llmrt_kernels.reference.argmax import argmax
from llmrt_kernels.reference.embedding import embedding
from llmrt_kernels.reference.gate_rows import gate_rows
from llmrt_kernels.reference.layer_norm import layer_norm
from llmrt_kernels.reference.linear import activated_linear, gated_linear, linear, rotary_linear
from llmrt_kernels.reference.linear_packed import (
    activated_linear_packed,
    embedding_packed,
    gated_linear_packed,
    linear_packed,
    rotary_linear_packed,
)
from llmrt_kernels.reference.lora import lora
from llmrt_kernels.reference.moe import moe_experts, moe_experts_packed
from llmrt_kernels.reference.paged_attention import paged_attention
from llmrt_kernels.reference.quantize import quantize
from llmrt_kernels.reference.rms_norm import rms_norm
from llmrt_kernels.reference.rms_norm_add import rms_norm_add
from llmrt_kernels.reference.rows import rows
from llmrt_kernels.reference.sample import sample
from llmrt_kernels.reference.scale import scale

# The residual stream: what begins it, what is added to it, and what is made of it for a product.
EMBEDDING = Op("embedding", (torch_on_gpu(embedding), reference(embedding)))
EMBEDDING_PACKED = Op(
    "embedding_packed",
    (triton("embedding_packed", "embedding_packed"), native(cpu.embedding), reference(embedding_packed)),
)
ADD_ROWS = Op("add_rows", (triton("scale", "add_rows"), native(cpu_residual.add_rows), reference(add_rows)))
ADD_SCALED = Op("add_scaled", (triton("scale", "add_scaled"), native(cpu_residual.add_scaled), reference(add_scaled)))
SCALE = Op("scale", (triton("scale", "scale"), native(cpu.scale), reference(scale)))
ROWS = Op[..., Activations]("rows", (triton("codes", "rows"), *native_rows(cpu.stream_rows), reference(rows)))
RMS_NORM = Op[..., Activations](
    "rms_norm", (triton("norm", "rms_norm"), *native_rows(cpu.rms_norm), reference(rms_norm))
)
LAYER_NORM = Op[..., Activations](
    "layer_norm", (triton("norm", "layer_norm"), *native_rows(cpu.layer_norm), reference(layer_norm))
)
RMS_NORM_ADD = Op("rms_norm_add", (triton("norm", "rms_norm_add"), native(cpu.rms_norm_add), reference(rms_norm_add)))
# Gives the stream again, where ``layer_norm`` gives what a product takes.
STREAM_NORM = Op("stream_norm", (triton("norm", "layer_norm"), native(cpu_residual.stream_norm), reference(layer_norm)))

# Products, and what is computed right after them.
LINEAR = Op("linear", (triton("dense_linear", "linear"), reference(linear)))
LINEAR_PACKED = Op[..., Tensor](
    "linear_packed", (triton("linear", "linear"), native(cpu.linear), reference(linear_packed))
)
LM_HEAD_PACKED = Op[..., Tensor](
    "lm_head_packed", (triton("linear", "lm_head"), native(cpu.linear), reference(linear_packed))
)
ACTIVATED_LINEAR = Op(
    "activated_linear", (triton("dense_activated_linear", "activated_linear"), reference(activated_linear))
)
ACTIVATED_LINEAR_PACKED = Op[..., Activations](
    "activated_linear_packed",
    (
        triton("activated_linear", "activated_linear"),
        native(cpu.activated_linear),
        reference(activated_linear_packed),
    ),
)
GATED_LINEAR = Op("gated_linear", (triton("dense_activated_linear", "gated_linear"), reference(gated_linear)))
GATED_LINEAR_PACKED = Op[..., Activations](
    "gated_linear_packed",
    (triton("activated_linear", "gated_linear"), native(cpu.gated_linear), reference(gated_linear_packed)),
)
GATE_ROWS = Op[..., Activations](
    "gate_rows", (triton("gate_rows", "gate_rows"), native(cpu.gate_rows), reference(gate_rows))
)
LORA = Op[..., Tensor]("lora", (triton("lora", "lora"), native(cpu_lora.lora), reference(lora)))
MOE_EXPERTS = Op("moe_experts", (triton("moe_dense", "moe_experts"), reference(moe_experts)))
MOE_EXPERTS_PACKED = Op[..., Tensor](
    "moe_experts_packed", (triton("moe", "moe_experts"), native(cpu_moe.moe_experts), reference(moe_experts_packed))
)

# Attention over the paged KV cache.
ROTARY_LINEAR = Op("rotary_linear", (triton("dense_rotary_linear", "rotary_linear"), reference(rotary_linear)))
ROTARY_LINEAR_PACKED = Op[..., Tensor](
    "rotary_linear_packed",
    (triton("rotary_linear", "rotary_linear"), native(cpu.rotary_linear), reference(rotary_linear_packed)),
)
PAGED_ATTENTION = Op[..., Activations](
    "paged_attention",
    (
        triton("attention", "paged_attention"),
        *native_rows(cpu_attention.paged_attention),
        reference(paged_attention),
    ),
)

# Choosing: the next token from logits, and codes and scales for a weight.
ARGMAX = Op("argmax", (triton("argmax", "argmax"), native(cpu_argmax.argmax), reference(argmax)))
SAMPLE = Op("sample", (triton("sample", "sample"), reference(sample)))
# The same where the host looks at logits, wherever they are: parameters are in its memory, and nothing is compiled.
HOST_SAMPLE = Op("host_sample", (native(cpu_sample.sample), reference(sample)))
QUANTIZE = Op("quantize", (native(cpu_quantize.quantize), triton("quantize", "quantize"), reference(quantize)))
