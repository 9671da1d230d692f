"""``/metrics``, as Prometheus reads it, against what the clients were answered."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from serving import chat, error_of, eventually, serving

from llmrt.config import ServerSettings
from llmrt.engine.messages import Submit
from llmrt.engine.request import RequestOutput, SamplingParams
from llmrt.engine.stats import EngineStats
from llmrt.server.engine_metrics import EngineCollector
from llmrt.server.metrics import Metrics

# What dashboards made for vLLM ask for.
NAMES = [
    "vllm:num_requests_running",
    "vllm:num_requests_waiting",
    "vllm:kv_cache_usage_perc",
    "vllm:gpu_cache_usage_perc",
    "vllm:prompt_tokens_total",
    "vllm:generation_tokens_total",
    "vllm:request_success_total",
    "vllm:num_preemptions_total",
    "vllm:prefix_cache_queries_total",
    "vllm:prefix_cache_hits_total",
    "vllm:external_prefix_cache_queries_total",
    "vllm:external_prefix_cache_hits_total",
    "vllm:spec_decode_num_drafts_total",
    "vllm:spec_decode_num_draft_tokens_total",
    "vllm:spec_decode_num_accepted_tokens_total",
    "vllm:time_to_first_token_seconds_bucket",
    "vllm:inter_token_latency_seconds_bucket",
    "vllm:time_per_output_token_seconds_bucket",
    "vllm:request_time_per_output_token_seconds_bucket",
    "vllm:e2e_request_latency_seconds_bucket",
    "vllm:request_queue_time_seconds_bucket",
    "vllm:request_prefill_time_seconds_bucket",
    "vllm:request_decode_time_seconds_bucket",
    "vllm:request_inference_time_seconds_bucket",
    "vllm:request_prompt_tokens_bucket",
    "vllm:request_generation_tokens_bucket",
    "process_resident_memory_bytes",
    "llmrt:engine_restarts_total",
    "llmrt:build_info",
    "llmrt:engine_ready",
    "llmrt:engine_resident_memory_bytes",
    "llmrt:model_load_seconds_bucket",
]


@pytest.fixture
def http(model_path: Path, engines_may_start: threading.Event) -> Iterator[httpx.Client]:
    """A server of its own, that nobody else counts with."""
    with serving(model_path, ServerSettings()) as served, served.http() as http:
        yield http


def read(http: httpx.Client) -> dict[str, float]:
    """The values by name, with the labels other than the model's behind it."""
    response = http.get("/metrics")
    assert response.status_code == 200 and response.headers["content-type"].startswith("text/plain")
    values: dict[str, float] = {}
    for family in text_string_to_metric_families(response.text):
        for sample in family.samples:
            labels = dict(sample.labels)
            assert labels.pop("model_name", "tiny-alias") == "tiny-alias"
            values[" ".join([sample.name, *labels.values()])] = sample.value
    return values


def test_the_names_are_those_that_dashboards_ask_for(http: httpx.Client) -> None:
    assert chat(http, "hi").status_code == 200
    names = {name.split()[0] for name in read(http)}
    assert set(NAMES) <= names


def test_tokens_and_ends_are_those_of_the_answers(http: httpx.Client) -> None:
    usages = [
        chat(http, "one two three").json()["usage"],
        chat(http, "one two three four", max_tokens=3).json()["usage"],
        chat(http, "one two STOP three four", stop="STOP").json()["usage"],
    ]
    several = chat(http, "xy", n=2).json()["usage"]
    embedded = http.post("/v1/embeddings", json={"input": ["abc", "de"]}).json()["usage"]
    scored = http.post("/v1/completions", json={"prompt": "pq", "echo": True, "max_tokens": 0}).json()["usage"]
    error_of(chat(http, "@fail"), 500)
    error_of(http.post("/v1/completions", json={"prompt": "@reject"}), 400)
    values = read(http)
    ends = {reason: values[f"vllm:request_success_total {reason}"] for reason in ("stop", "length", "abort", "error")}
    assert ends == {"stop": 1 + 1 + 2 + 2, "length": 1 + 1, "abort": 0, "error": 2}
    failed_prompt = values["vllm:prompt_tokens_total"] - sum(usage["prompt_tokens"] for usage in usages)
    failed_prompt -= scored["prompt_tokens"] + 2 * several["prompt_tokens"] + embedded["prompt_tokens"]
    assert 0 < failed_prompt < 60  # that of the answer that failed midway
    num_tokens = values["vllm:generation_tokens_total"]
    assert num_tokens >= sum(usage["completion_tokens"] for usage in [*usages, several])
    assert values["vllm:request_generation_tokens_sum"] == num_tokens
    assert values["vllm:e2e_request_latency_seconds_count"] == sum(ends.values())


def test_every_answer_has_its_times(http: httpx.Client) -> None:
    for _ in range(3):
        usage = chat(http, "@forever", max_tokens=43).json()["usage"]  # at the end of which tokens come slowly
    values = read(http)
    for name in ("time_to_first_token", "request_queue_time", "request_prefill_time", "request_decode_time"):
        assert values[f"vllm:{name}_seconds_count"] == 3, name
    # Several tokens may come at once; those of a first output have no distance.
    between = values["vllm:inter_token_latency_seconds_count"]
    assert 0 < between <= 3 * (usage["completion_tokens"] - 1)
    parts = values["vllm:request_decode_time_seconds_sum"]
    assert values["vllm:inter_token_latency_seconds_sum"] == pytest.approx(parts)
    first, whole = values["vllm:time_to_first_token_seconds_sum"], values["vllm:e2e_request_latency_seconds_sum"]
    assert 0 < first <= whole and first + parts <= whole


def test_tokens_that_come_with_the_first_have_no_time_of_their_own() -> None:
    metrics = Metrics()
    with metrics.of_model("m").watch([Submit("r", [1], SamplingParams())]) as watch:
        for num_tokens in (3, 1, 2):
            watch.see(RequestOutput("r", (7,) * num_tokens, "stop" if num_tokens == 2 else None))
    mean, decode = (
        metrics.registry.get_sample_value(f"vllm:request_{name}_seconds_sum", {"model_name": "m"})
        for name in ("time_per_output_token", "decode_time")
    )
    assert mean is not None and decode is not None and mean == pytest.approx(decode / 3)


def test_the_engines_state_is_that_of_now(http: httpx.Client) -> None:
    idle = read(http)
    assert idle["vllm:num_requests_running"] == idle["vllm:kv_cache_usage_perc"] == 0
    with http.stream("POST", "/v1/completions", json={"prompt": "@hang", "stream": True}):
        busy = eventually(lambda: values if (values := read(http))["vllm:num_requests_running"] else None)
        assert busy["vllm:kv_cache_usage_perc"] == busy["vllm:gpu_cache_usage_perc"] == 1 / 8
        assert busy["vllm:num_preemptions_total"] == 3
        assert (busy["vllm:prefix_cache_queries_total"], busy["vllm:prefix_cache_hits_total"]) == (20, 10)
        external = "vllm:external_prefix_cache"
        assert (busy[f"{external}_queries_total"], busy[f"{external}_hits_total"]) == (8, 4)
    eventually(lambda: read(http)["vllm:num_requests_running"] == 0)  # though no output came of the abort
    assert eventually(lambda: read(http)["vllm:request_success_total abort"]) == 1


def test_an_engine_that_follows_another_is_counted(http: httpx.Client, engines_may_start: threading.Event) -> None:
    before = read(http)
    assert before["llmrt:engine_ready"] == before["llmrt:model_load_seconds_count"] == 1
    assert before["llmrt:engine_resident_memory_bytes"] > 1e6
    engines_may_start.clear()
    error_of(chat(http, "@die"), 503)
    assert read(http)["llmrt:engine_ready"] == 0
    assert http.get("/ready").status_code == 503  # a probe that fails is no client that was refused
    engines_may_start.set()
    eventually(lambda: http.get("/ready").status_code == 200)
    values = read(http)
    assert values["llmrt:engine_restarts_total"] == values["vllm:request_success_total error"] == 1
    assert values["vllm:num_requests_running"] == 0
    assert (values["llmrt:engine_ready"], values["llmrt:model_load_seconds_count"]) == (1, 2)
    assert "llmrt:errors_total model_loading" not in values


def test_errors_are_counted_by_their_code(http: httpx.Client) -> None:
    error_of(chat(http, "hi", model="other"), 404)
    error_of(chat(http, "hi", temperature="hot"), 400)
    error_of(chat(http, "@fail"), 500)
    assert "server_error" in chat(http, "@fail", stream=True).text  # of a response with status 200
    error_of(http.get("/no/such/path"), 404)

    def counted() -> dict[str, float]:
        return {name: value for name, value in read(http).items() if name.startswith("llmrt:errors_total")}

    eventually(lambda: sum(counted().values()) >= 5)  # when their clients have them, they are not all counted yet
    codes = {"model_not_found": 1, "invalid_value": 1, "server_error": 2, "unknown_url": 1}
    assert counted() == {f"llmrt:errors_total {code}": number for code, number in codes.items()}


def test_metrics_need_the_key_too(model_path: Path) -> None:
    with serving(model_path, ServerSettings(api_keys=("k",))) as served, served.http() as http:
        error_of(http.get("/metrics"), 401)
        assert http.get("/metrics", headers={"authorization": "Bearer k"}).status_code == 200


def test_http_requests_are_counted_by_their_route_and_the_kind_of_their_status(http: httpx.Client) -> None:
    chat(http, "hi")
    chat(http, "hi", stream=True)
    chat(http, "hi", temperature="hot")
    http.get("/no/such/path")
    http.delete("/v1/models/none")
    values = read(http)
    assert values["http_requests_total /v1/chat/completions POST 2xx"] == 2
    assert values["http_requests_total /v1/chat/completions POST 4xx"] == 1
    assert values["http_requests_total none GET 4xx"] == 1
    assert sum(value for name, value in values.items() if name.startswith("http_requests_total")) == 5


def test_blocks_of_the_cache_have_vllms_names() -> None:
    process = {"num_restarts": 0, "is_ready": True, "memory_bytes": 1}
    engine = SimpleNamespace(stats=EngineStats(num_blocks=99, block_size=16), **process)
    loading = SimpleNamespace(stats=EngineStats(), **process)
    families = EngineCollector(lambda: {"a": engine, "b": loading}).collect()
    (family,) = (each for each in families if each.name == "vllm:cache_config_info")
    (sample,) = family.samples
    assert (sample.labels, sample.value) == ({"model_name": "a", "block_size": "16", "num_gpu_blocks": "99"}, 1)


@pytest.mark.parametrize("path", ["/health", "/ready", "/metrics", "/version", "/api/tags", "/api/version"])
def test_monitors_may_ask_for_the_head_alone(http: httpx.Client, path: str) -> None:
    head = http.head(path)
    assert (head.status_code, head.text) == (200, "") and int(head.headers["content-length"]) > 0
    assert head.headers["content-type"] == http.get(path).headers["content-type"]
