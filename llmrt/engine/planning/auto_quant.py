"""Which format ``--quant auto`` takes. Free of torch."""

from __future__ import annotations

from llmrt.engine.planning.memory import MemoryBudget
from llmrt.model.checkpoints.tensor_slots import num_parameters
from llmrt.model.checkpoints.weight_bytes import quantized_bytes, total
from llmrt.model.config import ModelConfig
from llmrt.quant.recipe import RECIPES

# Rounding to int4 changes the answers of small models visibly, while at int8 they are fast already.
LARGE_MODEL = 1_000_000_000
# Of the memory, for the weights and the workspace; the KV cache has the rest.
SHARE = 0.8


def choose_quant(model: ModelConfig, budget: MemoryBudget) -> tuple[str, str]:
    """(quant, why) for a ``budget`` of memory.

    int8 for models below a billion parameters, where it decodes at nearly the rate of int4 and loses next to nothing;
    int4 for larger ones, whose speed is their bytes, and where int8 does not fit.
    """
    count = num_parameters(model)
    size = f"{count / 1e9:.1f} billion" if count >= 1e9 else f"{count / 1e6:.0f} million"
    if count >= LARGE_MODEL:
        return "int4", f"quant auto: int4, for a model of {size} parameters decodes at the rate its bytes are read."
    needed = total(quantized_bytes(model, RECIPES["int8"])) + budget.workspace
    if needed > SHARE * budget.available:
        return (
            "int4",
            f"quant auto: int4, for int8 would take {needed / 1e9:.1f} GB of {budget.available / 1e9:.1f} GB.",
        )
    return "int8", f"quant auto: int8, for int4 costs a model of {size} parameters more quality than it gains speed."
