"""``llmrt bench``: figures that agree with each other, of the model that was meant."""

from __future__ import annotations

import io
import json
import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from llmrt.cli import bench as bench_command
from llmrt.cli import measure as measuring
from llmrt.cli.bench_target import FALLBACK, chosen_target, random_target, smallest_alias
from llmrt.cli.measure import Workload, measure
from llmrt.cli.progress import Bar, compact, progress_bar
from llmrt.engine.hardware.processor import processor_name
from llmrt.engine.llm_engine import LLMEngine
from llmrt.engine.runners.runner import Prefill
from llmrt.engine.scheduler import SchedulerOutput
from llmrt.errors import MemoryFitError
from llmrt.hub import store
from llmrt.model.checkpoints.config_files import read_config
from llmrt.model.checkpoints.tensor_slots import num_parameters
from llmrt.presets import find_preset
from tests.cli.conftest import CommandLine
from tests.cli.tiny_model import make_tiny_llama

SMALL = ("--prompt", "40", "--gen", "5", "--threads", "1")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLMRT_HOME", str(tmp_path / "home"))
    return tmp_path


def as_json(llmrt: CommandLine, *arguments: str) -> dict[str, Any]:
    status, out, err = llmrt("bench", *arguments, "--json")
    assert status == 0, err
    return json.loads(out)


def test_the_figures_agree(tiny: Path, llmrt: CommandLine) -> None:
    report = as_json(llmrt, str(tiny), *SMALL)
    assert report.keys() == {"model", "settings", "results", "machine", "date"}
    assert report["model"]["weights"] == "checkpoint"
    assert report["model"]["parameters"] == num_parameters(read_config(tiny))
    settings, results = report["settings"], report["results"]
    assert settings == {
        "prompt_tokens": 40,
        "output_tokens": 5,
        "depth": 0,
        "batch": 1,
        "context_length": 45,
        "quant": "none",
        "dtype": "fp32",
        "kv_dtype": "fp32",
        "threads": 1,
        "batched_tokens": 512,
        "prefix_caching": False,
        "repeat": 3,
    }
    assert len(results["runs"]) == 3
    for run in results["runs"]:
        assert run["prefill_rate"] * run["time_to_first_token"] == pytest.approx(40)
        decode_seconds = run["seconds"] - run["time_to_first_token"]
        assert run["decode_rate"] * decode_seconds == pytest.approx(4)
    for name, in_run in [
        ("prefill_tokens_per_second", "prefill_rate"),
        ("decode_tokens_per_second", "decode_rate"),
        ("time_to_first_token_seconds", "time_to_first_token"),
    ]:
        assert results[name] == sorted(run[in_run] for run in results["runs"])[1]
    assert results["load_seconds"] > 0
    assert 50_000_000 < results["peak_memory_bytes"] < report["machine"]["memory_bytes"]
    assert report["machine"]["processor"]
    assert report["machine"]["usable_cores"] >= 1
    assert {"system", "python", "torch", "llmrt", "cores", "logical_cores"} <= report["machine"].keys()


def test_ctx_is_filled(tiny: Path, llmrt: CommandLine) -> None:
    report = as_json(llmrt, str(tiny), "--ctx", "512", "--gen", "2", "--repeat", "1", "--threads", "1")
    assert report["settings"]["prompt_tokens"] == 510
    assert report["settings"]["context_length"] == 512


def test_one_token_has_no_decode_rate(tiny: Path, llmrt: CommandLine) -> None:
    report = as_json(llmrt, str(tiny), "--prompt", "1", "--gen", "1", "--repeat", "2", "--threads", "1")
    assert report["results"]["decode_tokens_per_second"] is None
    assert [run["decode_rate"] for run in report["results"]["runs"]] == [None, None]


def test_what_decode_spends_outside_of_native_kernels(tmp_path: Path, llmrt: CommandLine) -> None:
    served = make_tiny_llama(tmp_path / "served", hidden_size=128, intermediate_size=96)  # multiples of 16 lanes
    native = as_json(llmrt, str(served), *SMALL, "--quant", "int8", "--repeat", "1")["results"]
    assert 0 < native["decode_host_share"] < 1
    assert native["decode_host_share"] == native["runs"][0]["decode_host_share"]


def test_without_native_kernels_there_is_no_share(
    tiny: Path, llmrt: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMRT_KERNELS", "reference")
    assert as_json(llmrt, str(tiny), *SMALL, "--repeat", "1")["results"]["decode_host_share"] is None


def test_a_depth_is_held_and_not_computed(tiny: Path) -> None:
    from tests.engines import open_engine

    computed: list[int] = []
    bar = Bar(begin=lambda total: None, advance=computed.append)
    engine = open_engine(tiny, threads=1, max_num_seqs=2, context_length=200)
    executed = watch(engine)
    measuring.run_once(engine, Workload(20, 3, depth=101, batch=2), random.Random(0), bar)
    engine.scheduler.check_integrity()
    assert sum(executed) == sum(computed) == 2 * (20 + 3 - 1)
    assert engine.scheduler.kv.num_free_blocks >= 2 * 200 // 16


def watch(engine: LLMEngine) -> list[int]:
    """The number of tokens of each step from now on; the tiny model has no tapes."""
    executed: list[int] = []
    begin = engine._runner.begin

    def counted(scheduled: SchedulerOutput) -> Prefill:
        executed.append(sum(scheduled.values()))
        assert all(request.num_computed_tokens >= 101 for request in scheduled)
        return begin(scheduled)

    engine._runner.begin = counted
    return executed


def test_depth_and_batch_are_reported(tiny: Path, llmrt: CommandLine) -> None:
    report = as_json(llmrt, str(tiny), *SMALL, "--depth", "100", "--batch", "2", "--repeat", "1")
    settings, run = report["settings"], report["results"]["runs"][0]
    assert (settings["depth"], settings["batch"], settings["context_length"]) == (100, 2, 145)
    assert run["prefill_rate"] * run["time_to_first_token"] == pytest.approx(2 * 40)
    assert run["decode_rate"] * (run["seconds"] - run["time_to_first_token"]) == pytest.approx(2 * 4)


def test_people_get_a_table(tiny: Path, llmrt: CommandLine) -> None:
    status, out, _ = llmrt("bench", str(tiny), *SMALL, "--repeat", "2")
    assert status == 0
    for part in ("prefill, 40 tokens", "decode, 5 tokens", "tokens/s", "peak memory", "median of 2 runs", "1 threads"):
        assert part in out


def test_random_weights_need_a_config_alone(tiny: Path, tmp_path: Path, llmrt: CommandLine) -> None:
    config = shutil.copy(tiny / "config.json", tmp_path / "shape.json")
    report = as_json(llmrt, str(config), "--random-weights", *SMALL, "--repeat", "1")
    assert report["model"]["weights"] == "random"
    assert report["model"]["parameters"] == num_parameters(read_config(tiny))


def test_a_random_shape_may_have_fewer_layers() -> None:
    target = random_target("mixtral-8x7b", layers=2)
    assert target.config.num_layers == 2
    assert target.detail == "random weights, 2 of its 32 layers"


def test_random_weights_of_an_alias_are_of_the_published_type() -> None:
    target = random_target("mistral-7b")
    assert target.path is None
    assert target.config.dtype == "bf16"
    assert round(num_parameters(target.config) / 1e9, 1) == 7.2


def pulled(folder: Path, name: str, **shape: Any) -> None:
    path = make_tiny_llama(folder / name, **shape)
    store.save(
        store.Manifest(
            name=name,
            source="hub",
            origin=f"test/{name}",
            revision="main",
            commit="0" * 40,
            path=str(path),
            folder=str(path),
            files=(),
            pulled_at=store.now(),
        )
    )


def test_without_a_name_the_largest_pulled_model_that_fits(tmp_path: Path) -> None:
    pulled(tmp_path, "small", max_position_embeddings=4096)
    pulled(tmp_path, "middle", num_hidden_layers=3, max_position_embeddings=1024)
    pulled(tmp_path, "large", num_hidden_layers=4, max_position_embeddings=256)
    assert [chosen_target(n).name for n in (256, 640, 2048, 8192)] == ["large", "middle", "small", FALLBACK]


def test_the_choice_is_said(tmp_path: Path, llmrt: CommandLine) -> None:
    pulled(tmp_path, "only")
    status, out, err = llmrt("bench", *SMALL, "--repeat", "1")
    assert status == 0
    assert "measuring only" in err and "largest pulled model with a context of 45 tokens" in err
    assert out.startswith("only: ")


def test_a_pulled_model_that_cannot_be_read_is_passed_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pulled(tmp_path, "strange")
    (tmp_path / "strange" / "config.json").write_text('{"model_type": "mamba"}')
    assert chosen_target(64).name == FALLBACK
    assert "strange is passed over" in capsys.readouterr().err


def test_too_little_memory_for_the_choice_names_a_smaller_model(
    llmrt: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise MemoryFitError("Not enough memory: 15 GB are needed.")

    monkeypatch.setattr(bench_command, "load_engine", refuse)
    status, out, err = llmrt("bench")
    assert (status, out) == (1, "")
    last = err.splitlines()[-1]
    assert "15 GB are needed" in last
    assert "llmrt bench smollm2-135m --random-weights" in last
    status, _, err = llmrt("bench", "llama-3.1-8b", "--random-weights")
    assert (status, err) == (1, "error: Not enough memory: 15 GB are needed.\n")


@pytest.mark.parametrize("num_tokens", [640, 8192, 32768])
def test_the_smaller_model_has_the_context(num_tokens: int) -> None:
    preset = find_preset(smallest_alias(num_tokens))
    assert preset is not None
    assert preset.config["max_position_embeddings"] >= num_tokens


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--prompt", "8", "--ctx", "512"), "leave out --prompt or --ctx"),
        (("--ctx", "128"), "--ctx is 128"),
        (("--prompt", "500"), "takes at most 512"),
        (("--prompt", "8", "--gen", "4", "--depth", "512"), "at a depth of 512"),
        (("--random-weights", "--revision", "v1"), "--revision v1"),
        (("--layers", "2"), "goes with --random-weights"),
        (("--prompt", "8", "--device", "abacus"), "--device"),
    ],
)
def test_what_cannot_be_measured_is_one_line(
    tiny: Path, llmrt: CommandLine, arguments: Sequence[str], message: str
) -> None:
    status, out, err = llmrt("bench", str(tiny), *arguments)
    assert (status, out) == (1, "")
    assert err.splitlines()[-1].startswith("error: ") and message in err.splitlines()[-1]


def test_an_unknown_shape(llmrt: CommandLine) -> None:
    status, _, err = llmrt("bench", "mistral-7", "--random-weights")
    assert status == 1
    assert "did you mean mistral-7b" in err


@pytest.mark.parametrize(("long_run", "repeat", "runs"), [(0.0, None, 1), (60.0, None, 3), (0.0, 2, 2)])
def test_a_long_run_is_not_repeated_unless_asked_for(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, long_run: float, repeat: int | None, runs: int
) -> None:
    from tests.engines import open_engine

    monkeypatch.setattr(measuring, "LONG_RUN_SECONDS", long_run)
    totals: list[int] = []
    done: list[int] = []
    bar = Bar(
        begin=lambda total: (totals.append(total), done.append(0))[0], advance=lambda n: done.append(done.pop() + n)
    )
    engine = open_engine(tiny, threads=1)
    assert len(measure(engine, Workload(70, 5), repeat=repeat, bar=bar)) == runs
    assert totals == done, "the bar ends where it said"
    assert totals == [16 + 2 - 1] + [70 + 5 - 1] * runs


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stream", "shown"), [(Terminal(), True), (io.StringIO(), False)])
def test_a_bar_is_for_terminals(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, shown: bool) -> None:
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    with progress_bar("loading", "parameters") as bar:
        bar.begin(2_000_000)
        bar.advance(2_000_000)
    assert ("2.0 M of 2.0 M parameters" in stream.getvalue()) is shown
    assert shown or not stream.getvalue()


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (9_999, "9999"), (12_345, "12.3 k"), (134_515_008, "135 M"), (7_248_023_552, "7.2 B")],
)
def test_compact(number: int, text: str) -> None:
    assert compact(number) == text


def test_processor_name(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: Fast CPU @ 3 GHz\nprocessor\t: 1\n")
    assert processor_name(tmp_path / "cpuinfo") == "Fast CPU @ 3 GHz"
    assert processor_name(tmp_path / "missing")
