"""The request bodies of the OpenAI routes.

Types are strict: a number in quotes is an error, not a number. ``null`` means that a field was not sent.
Ranges of sampling values are checked by ``SamplingParams.validate``, those of other fields here. What happens
to fields that are not listed here is the policy of ``llmrt.server.extra_fields``.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, TypeGuard

from pydantic import ConfigDict, Field, PlainValidator

from llmrt.engine.request import MAX_LOGPROBS, Pooling
from llmrt.server.fields import RequestSchema
from llmrt.text.truncation import TruncationSide

MAX_CHOICES = 128  # OpenAI's limit of n
MAX_TOOLS = 4096  # OpenAI's limit is 128
_MAX_TEXTS = 1024  # that end an answer, or are forbidden in it
_MAX_WORD = 256  # characters of a text whose tokens are biased or forbidden


def _stop_strings(value: object) -> tuple[str, ...]:
    texts: object = [value] if isinstance(value, str) else [] if value is None else value
    if not isinstance(texts, list):
        raise ValueError("must be a string or a list of strings")
    if len(texts) > _MAX_TEXTS:
        raise ValueError(f"has {len(texts)} strings; it may have {_MAX_TEXTS}")
    strings = tuple(text for text in texts if isinstance(text, str) and text)
    if len(strings) != len(texts):
        raise ValueError("must hold strings that are not empty")
    return strings


def _token_biases(value: object) -> list[TokenBias]:
    """OpenAI's object of token ids and numbers, or llama.cpp's pairs of a token id or text and a number or false."""
    if isinstance(value, dict):
        return [(_token_id(key), _bias(key, bias)) for key, bias in value.items()]
    pairs: object = [] if value is None else value
    if not isinstance(pairs, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        raise ValueError("must be an object of token ids and numbers, or a list of such pairs")
    return [(_token_or_text(token), None if bias is False else _bias(token, bias)) for token, bias in pairs]


def _token_id(key: object) -> int:
    digits = str(key)  # JSON has texts alone as keys, a program may have numbers
    if not (digits.isdecimal() and digits.isascii()):
        raise ValueError(f"has the key {key!r:.40}; keys must be token ids")
    return int(digits)


def _token_or_text(token: object) -> int | str:
    if isinstance(token, bool) or not isinstance(token, int | str):
        raise ValueError(f"has {token!r:.40} in the place of a token id or a text")
    if isinstance(token, str) and len(token) > _MAX_WORD:  # which is made tokens in one go, while all else waits
        raise ValueError(f"has a text of {len(token)} characters; it may have {_MAX_WORD}")
    return token


def _bias(token: object, bias: object) -> float:
    if isinstance(bias, bool) or not isinstance(bias, int | float):
        raise ValueError(f"gives token {token!s:.40} a bias that is not a number")
    try:
        return float(bias)
    except OverflowError:
        raise ValueError(f"gives token {token!s:.40} a bias of more than a number can be") from None


def _prompts(value: object) -> list[str | list[int]]:
    """A text or a list of token ids is one prompt; a list of these is several."""
    items = value if isinstance(value, list) and not _is_token_ids(value) else [value]
    prompts = [item for item in items if isinstance(item, str) or _is_token_ids(item)]
    if len(prompts) != len(items):
        raise ValueError("must be a string, a list of strings, token ids or lists of token ids")
    if not prompts:
        raise ValueError("must not be an empty list")
    return prompts


def _is_token_ids(value: object) -> TypeGuard[list[int]]:
    return isinstance(value, list) and bool(value) and all(type(item) is int for item in value)


StopStrings = Annotated[tuple[str, ...], PlainValidator(_stop_strings, json_schema_input_type=str | list[str] | None)]
TokenBias = tuple[int | str, float | None]  # of a token, or those of a text; None for never
TokenBiases = Annotated[
    list[TokenBias],
    PlainValidator(
        _token_biases, json_schema_input_type=dict[str, float] | list[tuple[int | str, float | Literal[False]]] | None
    ),
]
Prompts = Annotated[
    list[str | list[int]],
    PlainValidator(_prompts, json_schema_input_type=str | list[int] | list[str] | list[list[int]]),
]
BadWord = Annotated[str, Field(min_length=1, max_length=_MAX_WORD)]
ToolName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:/-]{1,128}$")]


class StreamOptions(RequestSchema):
    """``include_obfuscation`` is padding that this server does not add."""

    include_usage: bool | None = None


class StructuredOutputs(RequestSchema):
    """vLLM's ``structured_outputs``: one of these."""

    model_config = ConfigDict(extra="forbid")

    json_: dict[str, Any] | str | None = Field(None, alias="json")
    json_object: bool | None = None
    regex: str | None = None
    choice: list[str] | None = None
    grammar: str | None = None


class GenerationBody(RequestSchema):
    """What chat and text completions share. Sampling values not sent are the model's own defaults.

    ``model`` may be left out: the first one is meant. From ``top_k`` on, the fields go beyond OpenAI's, named as
    in vLLM: ``top_k`` 0 or -1 leaves every token in, ``ignore_eos`` goes on after an end-of-sequence token, an answer
    of less than ``min_tokens`` ends at no token, ``allowed_token_ids`` are the only ones chosen, the tokens of
    ``bad_words`` never follow one another, ``return_token_ids`` adds the ids of the prompt and of the answer, and
    ``prompt_logprobs`` how likely each token of the prompt was, with so many of the likeliest; with
    ``skip_special_tokens`` false, special tokens inside the answer are part of its text, with
    ``include_stop_str_in_output`` the stop string that ends it, or the text of the stop token.
    From ``response_format`` on they say what the answer must look like: OpenAI's, vLLM's new and older names,
    llama.cpp's, and last SGLang's.
    """

    prompt_field: ClassVar[str]  # the name of the one that the prompt comes from

    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = Field(None, ge=1, le=MAX_CHOICES)
    max_tokens: int | None = Field(None, ge=1)
    temperature: float | None = None
    top_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: TokenBiases = Field([])
    seed: int | None = None
    stop: StopStrings = ()

    top_k: int | None = Field(None, ge=-1)
    min_p: float | None = None
    repetition_penalty: float | None = None
    stop_token_ids: list[int] | None = None
    ignore_eos: bool | None = None
    min_tokens: int | None = Field(None, ge=0)
    allowed_token_ids: list[int] | None = Field(None, min_length=1)
    bad_words: list[BadWord] | None = Field(None, max_length=_MAX_TEXTS)
    return_token_ids: bool | None = None
    prompt_logprobs: int | None = Field(None, ge=0, le=MAX_LOGPROBS)
    add_special_tokens: bool | None = None
    skip_special_tokens: bool | None = None
    include_stop_str_in_output: bool | None = None

    response_format: dict[str, Any] | None = None
    structured_outputs: StructuredOutputs | None = None
    guided_json: dict[str, Any] | str | None = None
    guided_regex: str | None = None
    guided_choice: list[str] | None = None
    guided_grammar: str | None = None
    json_schema: dict[str, Any] | str | None = None
    grammar: str | None = None
    regex: str | None = None
    ebnf: str | None = None


class FunctionSpec(RequestSchema):
    """A tool: ``parameters`` is the JSON schema of its arguments, which are sure to follow it if ``strict``."""

    name: ToolName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ToolSpec(RequestSchema):
    """OpenAI's form of a tool; functions are the only kind."""

    type: Literal["function"] = "function"
    function: FunctionSpec


class ChatBody(GenerationBody):
    """``POST /v1/chat/completions``.

    A last message of the assistant is continued: the answer holds only what comes after it.
    ``continue_final_message: false`` asks for a new message instead, and ``add_generation_prompt: false`` leaves out
    how one begins. ``chat_template_kwargs`` are variables for the model's chat template, and so is
    ``reasoning_effort`` where the template knows it.
    """

    prompt_field = "messages"
    messages: list[dict[str, Any]] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=MAX_LOGPROBS)
    continue_final_message: bool | None = None
    add_generation_prompt: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    reasoning_effort: str | None = None
    tools: list[ToolSpec] | None = Field(None, max_length=MAX_TOOLS)
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None


class CompletionBody(GenerationBody):
    """``POST /v1/completions``. ``max_tokens`` is OpenAI's 16 unless it is sent; with ``echo`` or
    ``prompt_logprobs`` it may be 0.

    ``best_of`` may be ``n``: all answers are given. With ``suffix`` a model for code fills the gap before it.
    """

    prompt_field = "prompt"
    prompt: Prompts
    suffix: str | None = None
    max_tokens: int | None = Field(None, ge=0)
    best_of: int | None = Field(None, ge=1)
    echo: bool | None = None
    logprobs: int | None = Field(None, ge=0, le=MAX_LOGPROBS)


class EmbeddingBody(RequestSchema):
    """``dimensions`` can only be the model's own.

    Beyond OpenAI's fields: ``pooling`` of the final hidden states, "mean" unless "last" is sent, and ``normalize``, by
    which vectors have the length 1 unless it is false; of longer texts the first ``truncate_prompt_tokens`` are
    embedded, with -1 as many as the context has, and the last ones if ``truncation_side`` is "left".
    """

    model: str | None = None
    input: Prompts
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None
    pooling: Pooling | None = None
    normalize: bool | None = None
    truncate_prompt_tokens: int | None = None
    truncation_side: TruncationSide | None = None
    add_special_tokens: bool | None = None
