"""Calibration tokens on their way through a decoder whose layers come and go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from llmrt.errors import CheckpointError
from llmrt.model.config import ModelConfig
from llmrt.model.forward_batch import ForwardBatch
from llmrt.model.loading.read_tensors import is_finite
from llmrt.model.modules.decoder import DecoderLayer, Rotations
from llmrt.quant.calibration import Calibration
from llmrt.quant.feedback import Feedback, feedback_from
from llmrt_kernels.kv_cache import LayerKVCache
from llmrt_kernels.reference.layer_norm import layer_norm


class CalibrationStream:
    """The residual stream of the tokens before the next layer, fp32.

    ``tensors`` are the decoder's parameters before the first layer.
    """

    def __init__(self, calibration: Calibration, config: ModelConfig, tensors: Mapping[str, Tensor]) -> None:
        self._batch = _batch(calibration)
        shape = len(calibration.sequences), config.num_kv_heads, calibration.length, config.head_dim
        self._kv = LayerKVCache(torch.zeros(shape), torch.zeros(shape))  # every layer writes it anew
        self._rotations = Rotations(config, calibration.length)
        self._stream = _embedded(self._batch, config, tensors)
        self._layer = 0
        self._damping, self._rank = calibration.damping, calibration.rank

    @torch.inference_mode()
    def pass_through(self, layer: DecoderLayer, names: Iterable[str], where: str) -> dict[str, Feedback]:
        """Run ``layer``, the next one; returns what rounding its products ``names`` is to heed of their inputs.

        Raises ``CheckpointError`` that says ``where`` for inputs that no weight can be rounded for.
        """
        modules = {layer.get_submodule(name): name for name in names}
        found: dict[str, Feedback] = {}

        def watch(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            if not is_finite(args[0]):
                raise CheckpointError(
                    f"{where}.{modules[module]}: its inputs become NaN or infinity; the weights before it or a number"
                    " of the model's configuration are damaged."
                )
            found[modules[module]] = feedback_from(args[0], damping=self._damping, rank=self._rank)

        hooks = [module.register_forward_pre_hook(watch) for module in modules]
        self._stream = layer(self._stream, self._batch, self._rotations.of(self._layer), self._kv)
        self._layer += 1
        for hook in hooks:  # which hold the layer in a circle, and so in memory
            hook.remove()
        return found


def _embedded(batch: ForwardBatch, config: ModelConfig, tensors: Mapping[str, Tensor]) -> Tensor:
    stream = tensors["embedding.weight"][batch.input_ids].float() * config.embedding_scale
    if config.learned_positions:
        stream += tensors["positions.weight"][batch.positions].float()
    if config.embedding_norm:
        weight, bias = tensors["embedding_norm.weight"], tensors["embedding_norm.bias"]
        stream = layer_norm(stream, weight, bias, config.norm_eps)
    return stream


def _batch(calibration: Calibration) -> ForwardBatch:
    """Each sequence a request of its own, in a page of its own."""
    requests, length = len(calibration.sequences), calibration.length
    return ForwardBatch(
        input_ids=torch.tensor(calibration.sequences).flatten(),
        positions=torch.arange(length).repeat(requests),
        slot_mapping=torch.arange(requests * length),
        cu_seqlens_q=torch.arange(requests + 1) * length,
        seq_lens=torch.full((requests,), length),
        block_table=torch.arange(requests).unsqueeze(1),
        max_query_len=length,
        logits_index=None,
    )
