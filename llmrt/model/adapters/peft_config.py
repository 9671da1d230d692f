"""The adapter_config.json of a folder that peft saved. Free of torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from llmrt.errors import CheckpointError
from llmrt.model.fields import Fields

if TYPE_CHECKING:  # imported where there is a pattern: most adapters have none
    from pydantic import TypeAdapter

CONFIG = "adapter_config.json"

# What is not b (a x) any more, or changes more of the model than that, but can be written into weights.
_MERGED = ("use_dora", "modules_to_save")
_REFUSED = (
    *("use_qalora", "use_bdlora", "lora_bias", "alora_invocation_tokens", "trainable_token_indices"),
    *("target_parameters", "layer_replication", "arrow_config", "kasa_config"),
    *("velora_config", "monteclora_config"),
)
# The other ways to begin take something away from the model's own weights.
_BEGINNINGS = (True, False, None, "gaussian", "eva", "orthogonal")


@dataclass(frozen=True)
class Pattern:
    """A regular expression for names of modules, from some dot on to their end, and the number that it is for."""

    expression: TypeAdapter[str]
    value: int

    def matches(self, module: str) -> bool:
        """Whether it is for ``module``."""
        try:
            self.expression.validate_python(module)
        except ValueError:  # pydantic's ValidationError is one
            return False
        return True


@dataclass(frozen=True)
class PeftConfig:
    """A rank and an alpha, and those of modules that have others. ``targets`` are ends of names, none for all.

    With ``magnitudes`` the rows of changed weights have lengths of their own (DoRA, https://arxiv.org/abs/2402.09353).
    ``whole`` are ends of names of modules that are replaced.
    """

    rank: int
    alpha: int
    ranks: tuple[Pattern, ...]
    alphas: tuple[Pattern, ...]
    rank_stabilized: bool
    targets: tuple[str, ...]
    magnitudes: bool = False
    whole: tuple[str, ...] = ()

    def rank_of(self, module: str) -> int:
        """The rank of ``module``."""
        return _first(self.ranks, module, self.rank)

    def scale_of(self, module: str) -> float:
        """What b (a x) is multiplied with there: alpha / r, or alpha / sqrt(r) (https://arxiv.org/abs/2312.03732)."""
        rank, alpha = self.rank_of(module), _first(self.alphas, module, self.alpha)
        return alpha / (math.sqrt(rank) if self.rank_stabilized else rank)

    def is_target(self, module: str) -> bool:
        """Whether ``module`` is among the targets."""
        return not self.targets or _ends_with(module, self.targets)

    def is_whole(self, module: str) -> bool:
        """Whether ``module`` is replaced."""
        return _ends_with(module, self.whole)


def read_peft_config(folder: Path, *, merging: bool = False) -> PeftConfig:
    """Raises ``CheckpointError`` for a file that is no LoRA, or one of a kind that is not supported.

    With ``merging``, kinds that can only be written into the weights of a model are supported too.
    """
    fields = Fields.from_file(folder / CONFIG)
    kind = fields.require("peft_type", str)
    if kind != "LORA":
        raise CheckpointError(f"{fields.where}: peft_type is {kind!r}; only LORA is supported.")
    _refuse(fields, merging=merging)
    return PeftConfig(
        rank=fields.size("r"),
        alpha=fields.size("lora_alpha"),
        ranks=_patterns(fields, "rank_pattern"),
        alphas=_patterns(fields, "alpha_pattern"),
        rank_stabilized=fields.get("use_rslora", bool, False),
        targets=_targets(fields),
        magnitudes=fields.get("use_dora", bool, False),
        whole=tuple(fields.strings("modules_to_save")),
    )


def _refuse(fields: Fields, *, merging: bool) -> None:
    for name in () if merging else _MERGED:
        if fields.is_on(name):
            raise CheckpointError(
                f"{fields.where}: {name} is set, which cannot be added to a model as it runs;"
                " write the model with it by llmrt merge."
            )
    for name in _REFUSED:
        if fields.is_on(name):
            raise CheckpointError(f"{fields.where}: {name} is set, which is not supported.")
    if (bias := fields.get("bias", str, "none")) != "none":
        raise CheckpointError(f"{fields.where}: bias is {bias!r}; only adapters without biases are supported.")
    if not fields.is_one_of("init_lora_weights", _BEGINNINGS):
        raise CheckpointError(
            f"{fields.where}: init_lora_weights is set to a method that changes the model's own weights;"
            " convert the adapter with peft's path_initial_model_for_weight_conversion."
        )


def _ends_with(module: str, names: tuple[str, ...]) -> bool:
    return any(module == name or module.endswith(f".{name}") for name in names)


def _targets(fields: Fields) -> tuple[str, ...]:
    """Names; of an expression ("all-linear" is one) the tensors tell as well what it meant."""
    return () if fields.is_text("target_modules") else tuple(fields.strings("target_modules"))


def _patterns(fields: Fields, name: str) -> tuple[Pattern, ...]:
    inside = fields.inside(name)
    return () if inside is None else tuple(Pattern(_expression(inside, key), inside.size(key)) for key in inside)


def _expression(fields: Fields, key: str) -> TypeAdapter[str]:
    """pydantic's expressions take linear time whatever they are; those of Python could be made to take forever."""
    from pydantic import StringConstraints, TypeAdapter
    from pydantic_core import SchemaError

    try:
        return TypeAdapter(Annotated[str, StringConstraints(pattern=rf"^(.*\.)?({key})$")])
    except SchemaError:
        raise CheckpointError(f"{fields.where}: {key!r} is no regular expression that is supported.") from None


def _first(patterns: tuple[Pattern, ...], module: str, otherwise: int) -> int:
    return next((pattern.value for pattern in patterns if pattern.matches(module)), otherwise)
