"""What those type who come from Ollama, llama.cpp or vLLM: spellings that work too, and what llmrt has instead."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

# Of commands.
OTHER_NAMES = {"run": "chat", "ls": "list", "remove": "rm", "delete": "rm"}

COMMANDS_INSTEAD = {
    "ps": "A server says at /api/ps which models it has loaded.",
    "stop": 'A server unloads a model by a POST to /api/generate of {"model": NAME, "keep_alive": 0}.',
    "create": "What a Modelfile says are options here, such as --system; `llmrt chat --help` lists them.",
    "help": "`llmrt --help` lists the commands, `llmrt COMMAND --help` what one takes.",
    "version": "`llmrt --version` says it.",
    "cp": "A model gets another name where it is served: llmrt serve MODEL --served-model-name NAME.",
}

# Of options; the help leaves them out.
_OPTIONS = {
    "ctx": "-c --ctx-size --num-ctx --max-model-len",
    "max_tokens": "-n --predict --n-predict --num-predict",
    "temperature": "--temp",
    "repetition_penalty": "--repeat-penalty",
    "seed": "-s",
    "prompt": "-p",
    "gen": "-n --n-gen",
    "depth": "-d --n-depth",
    "repeat": "-r --repetitions",
    "system": "-sys --system-prompt",
    "threads": "-t",
    "max_num_seqs": "-np --parallel",
    "kv_dtype": "--kv-cache-dtype",
    "device": "-dev",
    "draft_model": "-md --model-draft",
    "lora": "--adapter",
    "served_model_name": "-a --alias",
    "tls_cert": "--ssl-certfile --ssl-cert-file",
    "tls_key": "--ssl-keyfile --ssl-key-file",
}

_INSTEAD = {
    "-p --prompt": (
        "The prompt of `llmrt generate` stands by itself, after the model; `llmrt chat` has -p, `llmrt serve` --port."
    ),
    "-m --model": "The model stands by itself, after the command.",
    "-hf -hfr --hf-repo": "A model of the hub stands by itself, after the command: org/name:Q4_K_M.",
    "-ngl --gpu-layers --n-gpu-layers": "A model is on the GPU or on the processor as a whole; --device chooses.",
    "-tp --tensor-parallel-size -pp --pipeline-parallel-size -dp --data-parallel-size": "A model is on one GPU.",
    "-sm --split-mode -ts --tensor-split -mg --main-gpu": "A model is on one GPU; --device cuda:N chooses which.",
    "--gpu-memory-utilization": "--gpu-memory is a share of what is free, or gigabytes such as 12GB.",
    "-ctk --cache-type-k -ctv --cache-type-v": "--kv-dtype is the type of keys and values.",
    "-q --quantization": "A quantized model is known by its files; --quant int8 or int4 quantizes one.",
    "--tokenizer --chat-template --chat-template-file": "Tokenizer and chat template are the model's own.",
    "--enable-lora --lora-modules": "--lora NAME=PATH, or several, is all that adapters need.",
    "--disable-log-requests --enable-log-requests --disable-log-stats --uvicorn-log-level --log-disable -lv": (
        "--log-level says what is logged."
    ),
    "--log-file": "The log is written to stderr: 2> FILE keeps it.",
    "--allowed-origins --allowed-methods --allowed-headers": "--cors-origin ORIGIN, or several, lets web pages in.",
    "--timeout -to": "--request-seconds is how long an answer may take, --stall-seconds how long nobody may read it.",
    "--download-dir --cache-dir": "Variables choose the folder: LLMRT_HOME, or HF_HOME for what the hub has.",
    "--hf-token -hft": "The hub's token is the variable HF_TOKEN.",
    "--speculative-config --num-speculative-tokens": "--draft-model MODEL, or --speculate ngram, guesses tokens.",
    "--guided-decoding-backend --structured-outputs-config": "Grammars are llguidance's; leave it out.",
    "--no-enable-prefix-caching": "Prefixes are always kept in memory; --disk-cache 0 keeps none on disk.",
    "--generation-config --override-generation-config": (
        "Requests say how tokens are drawn, else it is as the model's publisher recommends."
    ),
    "--task --runner --convert --pooling": "Every model answers /v1/embeddings too, whose field pooling chooses how.",
    "--rope-scaling --rope-theta --rope-freq-base --rope-freq-scale --yarn-orig-ctx --hf-overrides": (
        "Positions are as the model's own files say."
    ),
    "-ot --override-tensor -cmoe --cpu-moe -ncmoe --n-cpu-moe": (
        "A model is on the GPU or on the processor as a whole; --device chooses."
    ),
    "--reasoning-format --reasoning-budget": (
        "A model's thoughts come apart from its answer; requests turn them off where its chat template can."
    ),
    "--keepalive --keep-alive": "--keep-alive-seconds of `llmrt serve` says how long an idle model stays loaded.",
    "-l --logit-bias": "logit_bias is a field of requests to `llmrt serve`.",
    "-j --json-schema -jf --json-schema-file --grammar --grammar-file --format": (
        "Answers of a given form are asked of `llmrt serve` or llmrt.LLM, by response_format or structured_outputs."
    ),
    "--mirostat --mirostat-lr --mirostat-ent --typical --dynatemp-range --dynatemp-exp --samplers --top-nsigma "
    "--xtc-probability --xtc-threshold --dry-multiplier --dry-base --dry-allowed-length --repeat-last-n": (
        "Tokens are drawn by --temperature, --top-k, --top-p, --min-p and penalties alone."
    ),
    "--temp --temperature --top-k --top-p --min-p --seed -n --max-tokens": (
        "It is one of `llmrt chat` and `llmrt generate`. Requests to a server say how tokens are drawn, else it is as"
        " the model's publisher recommends."
    ),
    "--enable-auto-tool-choice --tool-call-parser --reasoning-parser": (
        "How a model calls tools and thinks is read from its chat template; leave it out."
    ),
    "--mlock --mmap --no-mmap --swap-space --cpu-offload-gb": "Weights are mapped where they can be; leave it out.",
    "-b --batch-size -ub --ubatch-size -tb --threads-batch --max-num-batched-tokens --enforce-eager --block-size "
    "--no-warmup --load-format --threads-http --workers --numa": (
        "llmrt chooses how it loads and computes; leave it out."
    ),
    "-fa --flash-attn -cb --cont-batching --enable-prefix-caching --enable-chunked-prefill --jinja -cnv "
    "--conversation --metrics --embedding --embeddings --slots --props": "That is always on; leave it out.",
    "--trust-remote-code": "Code that comes with a model is never run; leave it out.",
    "-v --verbose": (
        "/set verbose in a chat tells of each answer's speed, `llmrt bench` measures it; `llmrt serve` has --log-level."
    ),
}
_ADVICE = {name: advice for names, advice in _INSTEAD.items() for name in names.split()}


def name_here(name: str) -> str:
    """What the setting ``name`` of elsewhere, such as "num_ctx", is called here; else itself."""
    spelt = f"--{name.replace('_', '-')}"
    return next((here for here, others in _OPTIONS.items() if spelt in others.split()), name)


def other_spellings(option: Any) -> list[str]:
    """How an option, or an argument, is spelt elsewhere."""
    return _OPTIONS.get(option.name, "").split() if option.param_type_name == "option" else []


def advice(typed: Sequence[str], params: Iterable[Any]) -> str | None:
    """What to do in the place of the first word that is an option elsewhere, and none of ``params``."""
    here = {name for param in params for name in (*param.opts, *other_spellings(param))}
    names = (word.partition("=")[0] for word in typed)
    return next((f"{name} is no option here. {_ADVICE[name]}" for name in names if name in _ADVICE.keys() - here), None)
