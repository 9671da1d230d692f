"""Sentencepiece's description of a vocabulary: read from a file, or built from a GGUF file's lists."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2

from llmrt.errors import TokenizerError

# protobuf makes these classes when it is imported; a type checker cannot know them.
_ModelProto: Any = sentencepiece_model_pb2.ModelProto  # pyright: ignore[reportAttributeAccessIssue]
_BPE: int = sentencepiece_model_pb2.TrainerSpec.BPE  # pyright: ignore[reportAttributeAccessIssue]

UNKNOWN: int = _ModelProto.SentencePiece.UNKNOWN
BYTE: int = _ModelProto.SentencePiece.BYTE
SPECIAL_TYPES: tuple[int, ...] = (_ModelProto.SentencePiece.CONTROL, UNKNOWN)


def read_model(path: Path) -> Any:
    """The ``ModelProto`` in ``path``; ``TokenizerError`` for a file that is none."""
    model = _ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except OSError as error:
        raise TokenizerError(f"{path} cannot be read: {error.strerror}.") from error
    except DecodeError as error:
        raise TokenizerError(f"{path} is not a sentencepiece model.") from error
    if not model.pieces:
        raise TokenizerError(f"{path} is not a sentencepiece model: it has no pieces.")
    return model


def build_model(pieces: Iterable[tuple[str, float, int]], *, add_dummy_prefix: bool) -> Any:
    """The ``ModelProto`` of a BPE vocabulary with (text, score, type) by id and no normalization.

    The numbers of sentencepiece's types and of GGUF's are the same.
    """
    model = _ModelProto()
    for text, score, kind in pieces:
        model.pieces.add(piece=text, score=score, type=kind)
        if kind == UNKNOWN:
            model.trainer_spec.unk_piece = text
    model.trainer_spec.model_type = _BPE
    model.trainer_spec.byte_fallback = any(piece.type == BYTE for piece in model.pieces)
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = add_dummy_prefix
    model.normalizer_spec.remove_extra_whitespaces = False
    return model


def make_processor(model: Any) -> SentencePieceProcessor:
    """The encoder of a ``ModelProto``; ``TokenizerError`` with the library's reason where there is none."""
    try:
        return SentencePieceProcessor(model_proto=model.SerializeToString())
    except (RuntimeError, ValueError) as error:
        raise TokenizerError(f"The sentencepiece vocabulary cannot be used: {error}.") from error
