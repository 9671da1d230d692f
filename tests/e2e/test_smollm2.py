"""SmolLM2-135M: the text that transformers writes with the same weights, and what a person sees."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from llmrt.config import EngineConfig
from llmrt.engine.llm_engine import LLMEngine
from llmrt.engine.loading.build import build_engine
from llmrt.text.chat_template import load_chat_template
from llmrt.text.load_tokenizer import load_tokenizer
from llmrt.text.tokenizer import Tokenizer
from tests.engines import greedy

LLMRT = [sys.executable, "-c", "from llmrt.cli.main import main; main()"]

QUESTIONS = [
    "What is the capital of France?",
    "Write a haiku about the sea.",
    "Explain in one sentence why the sky is blue.",
    "List three uses of a paper clip.",
    "Translate 'good morning' into Spanish.",
]


@pytest.fixture(scope="module")
def engine(smollm2: Path) -> LLMEngine:
    return build_engine(smollm2, EngineConfig(dtype="fp32", quant="none", context_length=1024))


@pytest.fixture(scope="module")
def tokenizer(smollm2: Path) -> Tokenizer:
    return load_tokenizer(smollm2)


@pytest.fixture(scope="module")
def reference(smollm2: Path) -> PreTrainedModel:
    if smollm2.is_file():
        where = {"pretrained_model_name_or_path": smollm2.parent, "gguf_file": smollm2.name}
    else:
        where = {"pretrained_model_name_or_path": smollm2}
    return AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32).eval()


def chat_ids(smollm2: Path, tokenizer: Tokenizer, question: str) -> list[int]:
    template = load_chat_template(smollm2)
    assert template is not None
    return tokenizer.encode(template.render([{"role": "user", "content": question}]), add_special_tokens=False)


@pytest.mark.parametrize("question", QUESTIONS)
def test_greedy_text_is_that_of_transformers(
    question: str, smollm2: Path, engine: LLMEngine, tokenizer: Tokenizer, reference: PreTrainedModel
) -> None:
    prompt = chat_ids(smollm2, tokenizer, question)
    ids = torch.tensor([prompt])
    with torch.inference_mode():
        # A mask of ones: it would guess one from the padding token, which these prompts contain.
        output = reference.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=32, do_sample=False)
    expected = output[0, len(prompt) :].tolist()
    assert greedy(engine, prompt, len(expected)) == expected


def test_chat_answers_a_question(smollm2: Path) -> None:
    command = [*LLMRT, "chat", "smollm2-135m", "--quant", "none", "--temperature", "0", "--prompt", QUESTIONS[0]]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
    assert done.stdout.strip() == "The capital of France is Paris."


def test_chat_answers_what_comes_through_a_pipe(smollm2: Path) -> None:
    command = [*LLMRT, "chat", "smollm2-135m", "--quant", "none", "--temperature", "0"]
    done = subprocess.run(command, input=QUESTIONS[0], capture_output=True, text=True, check=True, timeout=100)
    assert done.stdout.strip() == "The capital of France is Paris."
