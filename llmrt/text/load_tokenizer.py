"""Where the tokenizer of a model is found."""

from __future__ import annotations

from pathlib import Path

from llmrt.errors import TokenizerError
from llmrt.text.tokenizer import Tokenizer

TOKENIZER_FILES = ("tokenizer.json", "tekken.json", "tokenizer.model")


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer of a model directory or of a .gguf file.

    A directory's tokenizer.json goes before its tekken.json, and that before its tokenizer.model. Raises
    ``TokenizerError`` where there is none, and it or ``CheckpointError`` for a file that cannot be read.
    """
    if path.suffix == ".gguf":
        from llmrt.text.gguf_vocab import load_gguf_tokenizer

        return load_gguf_tokenizer(path)
    match tokenizer_file(path):
        case "tokenizer.json":
            from llmrt.text.hf_tokenizer import load_hf_tokenizer

            return load_hf_tokenizer(path)
        case "tekken.json":
            from llmrt.text.tekken_tokenizer import load_tekken_tokenizer

            return load_tekken_tokenizer(path)
        case "tokenizer.model":
            from llmrt.text.sp_tokenizer import load_sp_tokenizer

            return load_sp_tokenizer(path)
        case _:
            raise TokenizerError(f"{path} has no tokenizer: looked for {', '.join(TOKENIZER_FILES)}.")


def tokenizer_file(directory: Path) -> str | None:
    """The name of the file that a directory's tokenizer is read from, the first of those that are there."""
    return next((name for name in TOKENIZER_FILES if (directory / name).is_file()), None)
