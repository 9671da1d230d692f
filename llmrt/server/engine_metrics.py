"""What Prometheus is told of the engine, as its last outputs say; it is put together when Prometheus asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from llmrt.engine.stats import EngineStats
from llmrt.server.engine_client import EngineClient

_LABELS = ("model_name",)
_GAUGES = {
    "vllm:num_requests_running": ("num_running", "Requests that are computed."),
    "vllm:num_requests_waiting": ("num_waiting", "Requests that wait for others to end."),
    "vllm:kv_cache_usage_perc": ("kv_usage", "The share of the KV cache that requests hold; 1 is all of it."),
    "vllm:gpu_cache_usage_perc": ("kv_usage", "The same under the name that older dashboards ask for."),
}
_OF_PROCESS = {
    "llmrt:engine_ready": ("is_ready", "1 where requests can be answered, 0 while the engine loads or has died."),
    "llmrt:engine_resident_memory_bytes": ("memory_bytes", "What the engine process has in memory, mapped files too."),
}
_COUNTERS = {
    "vllm:num_preemptions": ("num_preemptions", "Requests that gave their KV blocks to others, to be computed again."),
    "vllm:prefix_cache_queries": ("prefix_queries", "Tokens of prompts that were looked for in the prefix cache."),
    "vllm:prefix_cache_hits": ("prefix_hits", "Those that were found there."),
    "vllm:external_prefix_cache_queries": ("disk_queries", "Those that were not, and were looked for on disk."),
    "vllm:external_prefix_cache_hits": ("disk_hits", "Those that were read from there."),
    "vllm:spec_decode_num_drafts": ("num_drafts", "Drafts of guessed tokens that were verified."),
    "vllm:spec_decode_num_draft_tokens": ("num_draft_tokens", "Tokens of those drafts."),
    "vllm:spec_decode_num_accepted_tokens": ("num_accepted_tokens", "Those of them that were right."),
}


class EngineCollector(Collector):
    """The state of each of ``engines``, by its model's name, as they are when Prometheus asks.

    Counters begin again with another process, which Prometheus knows to read.
    """

    def __init__(self, engines: Callable[[], Mapping[str, EngineClient]]) -> None:
        self._engines = engines

    def collect(self) -> Iterator[Metric]:
        """Every family, for the registry."""
        engines = self._engines()
        stats = {model: engine.stats for model, engine in engines.items()}
        for name, (field, text) in _GAUGES.items():
            yield _family(GaugeMetricFamily(name, text, labels=_LABELS), field, stats)
        for name, (field, text) in _COUNTERS.items():
            yield _family(CounterMetricFamily(name, text, labels=_LABELS), field, stats)
        for name, (field, text) in _OF_PROCESS.items():
            yield _family(GaugeMetricFamily(name, text, labels=_LABELS), field, engines)
        restarts = CounterMetricFamily("llmrt:engine_restarts", "Engines that followed one that died.", labels=_LABELS)
        yield _family(restarts, "num_restarts", engines)
        yield _cache_config(engines)


def _cache_config(engines: Mapping[str, EngineClient]) -> Metric:
    """As vLLM has it: the numbers are labels. An engine tells them with its first outputs."""
    labels = (*_LABELS, "block_size", "num_gpu_blocks")
    family = GaugeMetricFamily(
        "vllm:cache_config_info", "Blocks of the KV cache, and tokens of a block.", labels=labels
    )
    for model, engine in engines.items():
        if engine.stats.num_blocks:
            family.add_metric([model, str(engine.stats.block_size), str(engine.stats.num_blocks)], 1)
    return family


def _family(
    family: GaugeMetricFamily | CounterMetricFamily, field: str, of_models: Mapping[str, EngineStats | EngineClient]
) -> Metric:
    for model, told in of_models.items():
        family.add_metric([model], getattr(told, field))
    return family
