"""What Prometheus is told of the requests that the engine computes, under vLLM's names, so that its dashboards show it.

Times are those of this process: from a request's hand-over to the engine until its tokens are back.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Histogram, Info, ProcessCollector

from llmrt import __version__
from llmrt.engine.messages import Submit
from llmrt.engine.request import EndReason, RequestOutput
from llmrt.errors import LlmrtError

# vLLM's bounds, and the smaller ones that small models need.
_TOKEN_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 2.5, 5, 10, 40)
_FIRST_SECONDS = (*_TOKEN_SECONDS, 80, 160, 640, 2560)
_REQUEST_SECONDS = (0.05, 0.1, 0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 60, 120, 240, 480, 960, 1920, 7680)
_LOAD_SECONDS = (1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640, 1280)
_TOKENS = tuple(digit * 10**power for power in range(6) for digit in (1, 2, 5))
_COUNTERS = {
    "prompt_tokens": "Tokens of prompts.",
    "generation_tokens": "Tokens of answers.",
}
_HISTOGRAMS = {
    "time_to_first_token_seconds": (_FIRST_SECONDS, "From a request to the first token of its answer."),
    "inter_token_latency_seconds": (_TOKEN_SECONDS, "From a token to the next of the same answer."),
    "time_per_output_token_seconds": (_TOKEN_SECONDS, "The same under the name that older dashboards ask for."),
    "request_time_per_output_token_seconds": (_TOKEN_SECONDS, "The mean of that over an answer."),
    "request_queue_time_seconds": (_REQUEST_SECONDS, "Until the engine began with a request."),
    "request_prefill_time_seconds": (_REQUEST_SECONDS, "From there to the first token."),
    "request_decode_time_seconds": (_REQUEST_SECONDS, "From the first token to the last."),
    "request_inference_time_seconds": (_REQUEST_SECONDS, "Prefill and decode together."),
    "e2e_request_latency_seconds": (_REQUEST_SECONDS, "A request as a whole."),
    "request_prompt_tokens": (_TOKENS, "Tokens of a prompt."),
    "request_generation_tokens": (_TOKENS, "Tokens of an answer."),
}
_TELL_SECONDS = 0.1  # so long tokens are only noted: a step sweeps the caches, so that one by one they cost much
_REASONS: tuple[EndReason, ...] = ("stop", "length", "abort", "error")


class Metrics:
    """All that is told; ``registry`` has it, and what else is registered there."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        Info("llmrt:build", "The version of llmrt.", registry=self.registry).info({"version": __version__})
        model, ended = ("model_name",), ("model_name", "finished_reason")
        self._counters = {
            name: Counter(f"vllm:{name}", text, model, registry=self.registry) for name, text in _COUNTERS.items()
        }
        self._histograms = {
            name: Histogram(f"vllm:{name}", text, model, registry=self.registry, buckets=bounds)
            for name, (bounds, text) in _HISTOGRAMS.items()
        }
        self._loads = Histogram(
            "llmrt:model_load_seconds",
            "From an engine's start until it can answer.",
            model,
            registry=self.registry,
            buckets=_LOAD_SECONDS,
        )
        self._errors = Counter("llmrt:errors", "Requests that ended with an error.", ("code",), registry=self.registry)
        self._http = Counter("http_requests", "HTTP requests.", ("method", "status", "handler"), registry=self.registry)
        self._ends = Counter("vllm:request_success", "Requests by how they ended.", ended, registry=self.registry)

    def count_http(self, method: str, status: int, handler: str) -> None:
        """An HTTP request was answered, by the route ``handler``; as FastAPI's instrumentators tell of it."""
        self._http.labels(method, f"{status // 100}xx", handler).inc()

    def count_error(self, code: str) -> None:
        """A request ended with an error, before its answer or within a stream."""
        self._errors.labels(code).inc()

    def of_model(self, model: str) -> ModelMetrics:
        """What is told of the requests to one model."""
        return ModelMetrics(
            {name: counter.labels(model) for name, counter in self._counters.items()},
            {name: histogram.labels(model) for name, histogram in self._histograms.items()},
            {reason: self._ends.labels(model, reason) for reason in _REASONS},
            self._loads.labels(model),
        )


@dataclass(frozen=True)
class ModelMetrics:
    """Counts and times of the requests to one model."""

    counters: Mapping[str, Counter]
    histograms: Mapping[str, Histogram]
    ends: Mapping[EndReason, Counter]
    loads: Histogram

    def count(self, name: str, amount: int) -> None:
        """Add to a counter."""
        self.counters[name].inc(amount)

    def observe(self, name: str, value: float) -> None:
        """Add a value to a histogram."""
        self.histograms[name].observe(value)

    def count_end(self, reason: EndReason) -> None:
        """A request ended."""
        self.ends[reason].inc()

    @contextmanager
    def watch(self, requests: Sequence[Submit]) -> Generator[Watch]:
        """Around the requests of one call: what is unfinished behind it was aborted, or failed by an ``LlmrtError``."""
        watch = Watch(self, requests)
        try:
            yield watch
        except LlmrtError:
            watch.end("error")
            raise
        finally:
            watch.end("abort")


@dataclass
class _Life:
    """One request so far; times are of the monotonic clock."""

    num_prompt_tokens: int
    began: float
    queue_seconds: float = 0.0
    first_token: float = 0.0
    last_token: float = 0.0
    num_tokens: int = 0
    num_first: int = 0  # tokens that came at once with the first
    told_at: float = 0.0
    untold: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])  # seconds for so many tokens


@dataclass
class Watch:
    """The requests of one call, seen by their outputs."""

    metrics: ModelMetrics
    requests: Sequence[Submit]
    _open: dict[str, _Life] = field(init=False)

    def __post_init__(self) -> None:
        now = time.monotonic()
        self._open = {request.request_id: _Life(len(request.token_ids), now) for request in self.requests}

    def see(self, output: RequestOutput) -> None:
        """Count an output as it is taken."""
        life = self._open[output.request_id]
        if output.token_ids:
            self._see_tokens(life, len(output.token_ids), output.queue_seconds)
        elif output.finish_reason in ("stop", "length"):  # its prompt was all that was computed
            self.metrics.count("prompt_tokens", life.num_prompt_tokens)
        if output.finish_reason is not None:
            del self._open[output.request_id]
            # The server itself ends an answer whose text is over, by aborting the rest of it.
            self._end(life, "stop" if output.finish_reason == "abort" else output.finish_reason)

    def end(self, reason: EndReason) -> None:
        """All that are open end by ``reason``."""
        lives, self._open = self._open, {}
        for life in lives.values():
            self._end(life, reason)

    def _see_tokens(self, life: _Life, num_tokens: int, queue_seconds: float) -> None:
        now = time.monotonic()
        if life.num_tokens == 0:
            life.queue_seconds, life.first_token, life.num_first = queue_seconds, now, num_tokens
            self.metrics.count("prompt_tokens", life.num_prompt_tokens)
            self.metrics.count("generation_tokens", num_tokens)
            self.metrics.observe("time_to_first_token_seconds", now - life.began)
        else:
            life.untold.append((now - life.last_token, num_tokens))
        life.last_token = now
        life.num_tokens += num_tokens
        if now > life.told_at + _TELL_SECONDS:
            self._tell_tokens(life)
            life.told_at = now

    def _tell_tokens(self, life: _Life) -> None:
        self.metrics.count("generation_tokens", sum(num_tokens for _, num_tokens in life.untold))
        for seconds, num_tokens in life.untold:
            for _ in range(num_tokens):
                self.metrics.observe("inter_token_latency_seconds", seconds / num_tokens)
                self.metrics.observe("time_per_output_token_seconds", seconds / num_tokens)
        life.untold.clear()

    def _end(self, life: _Life, reason: EndReason) -> None:
        self._tell_tokens(life)
        self.metrics.count_end(reason)
        self.metrics.observe("e2e_request_latency_seconds", time.monotonic() - life.began)
        self.metrics.observe("request_prompt_tokens", life.num_prompt_tokens)
        self.metrics.observe("request_generation_tokens", life.num_tokens)
        if life.num_tokens:
            self._observe_phases(life)

    def _observe_phases(self, life: _Life) -> None:
        decode = life.last_token - life.first_token
        prefill = max(0.0, life.first_token - life.began - life.queue_seconds)
        self.metrics.observe("request_queue_time_seconds", life.queue_seconds)
        self.metrics.observe("request_prefill_time_seconds", prefill)
        self.metrics.observe("request_decode_time_seconds", decode)
        self.metrics.observe("request_inference_time_seconds", prefill + decode)
        if later := life.num_tokens - life.num_first:
            self.metrics.observe("request_time_per_output_token_seconds", decode / later)
