"""How byte-level BPE vocabularies cut a text into words before merging, by ``tokenizer.ggml.pre``.

A GGUF file names the rule without holding it. These are the expressions of the models' own tokenizer.json.
"""

from __future__ import annotations

from dataclasses import dataclass

from tokenizers import Regex
from tokenizers.normalizers import NFC, Normalizer
from tokenizers.pre_tokenizers import ByteLevel, PreTokenizer, Sequence, Split

from llmrt.errors import TokenizerError


@dataclass(frozen=True)
class BpeRules:
    """``splits`` are applied one after the other.

    ``ignore_merges`` takes a word that is a token whole, whatever the merges say; ``add_bos`` holds where the
    file does not say.
    """

    splits: tuple[str, ...]
    ignore_merges: bool = False
    add_bos: bool = False
    nfc: bool = False

    def pre_tokenizer(self) -> PreTokenizer:
        """The splits and then the spelling of bytes."""
        splits = [Split(Regex(split), behavior="isolated") for split in self.splits]
        return Sequence([*splits, ByteLevel(add_prefix_space=False, use_regex=False)])

    def normalizer(self) -> Normalizer | None:
        """What is done to the text first."""
        return NFC() if self.nfc else None


def bpe_rules(pre: str | None) -> BpeRules:
    """The rules for a value of ``tokenizer.ggml.pre``; files older than that field are like GPT-2."""
    name = "default" if pre is None else pre
    if name not in _RULES:
        raise TokenizerError(f"tokenizer.ggml.pre is {name!r}, but supported are {', '.join(sorted(_RULES))}.")
    return _RULES[name]


_GPT2_SPLIT = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2_SPLIT = _LLAMA3_SPLIT.replace(r"\p{N}{1,3}", r"\p{N}")
_UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_TEKKEN_SPLIT = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_SUFFIX = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_GPT4O_SPLIT = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_SUFFIX}|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_SUFFIX}"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_DEEPSEEK_CODER_SPLITS = (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+", r"\p{N}")
_DEEPSEEK_V3_SPLITS = (
    r"\p{N}{1,3}",
    "[一-龥\u3040-ゟ\u30a0-ヿ]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
)

_GPT2 = BpeRules((_GPT2_SPLIT,))
_SINGLE_DIGITS = BpeRules((r"\p{N}", _GPT2_SPLIT))
_LLAMA3 = BpeRules((_LLAMA3_SPLIT,), ignore_merges=True, add_bos=True)
_QWEN2 = BpeRules((_QWEN2_SPLIT,), nfc=True)
_GPT4O = BpeRules((_GPT4O_SPLIT,))

_RULES = {
    "default": _GPT2,
    "gpt-2": _GPT2,
    "phi-2": _GPT2,
    "mpt": _GPT2,
    "olmo": _GPT2,
    "smollm": _SINGLE_DIGITS,
    "starcoder": _SINGLE_DIGITS,
    "refact": _SINGLE_DIGITS,
    "command-r": _SINGLE_DIGITS,
    "codeshell": _SINGLE_DIGITS,
    "llama-bpe": _LLAMA3,
    "llama3": _LLAMA3,
    "llama-v3": _LLAMA3,
    "falcon3": _LLAMA3,
    "pixtral": _LLAMA3,
    "smaug-bpe": BpeRules((_LLAMA3_SPLIT,)),
    "dbrx": BpeRules((_LLAMA3_SPLIT,)),
    "qwen2": _QWEN2,
    "deepseek-r1-qwen": BpeRules((_QWEN2_SPLIT,)),
    "stablelm2": BpeRules((_QWEN2_SPLIT,)),
    "tekken": BpeRules((_TEKKEN_SPLIT,), ignore_merges=True, add_bos=True),
    "gpt-4o": _GPT4O,
    "llama4": _GPT4O,
    "deepseek-coder": BpeRules(_DEEPSEEK_CODER_SPLITS),
    "deepseek-v3": BpeRules(_DEEPSEEK_V3_SPLITS),
}
