"""What ``llmrt tune`` keeps: the fastest of what a scripted timer measures, for one GPU, one Triton, one source."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton", reason="there is no Triton but for Linux")

from llmrt.engine.loading import tuned_file
from llmrt.engine.loading.tuned_file import Origin, read_tuned, tuned_path, write_tuned
from llmrt.errors import ConfigError
from llmrt_kernels.triton import tuned, tuning

HERE = Origin("GPU of 1 (test)", "3.6.0", "0123")
DECODE, PREFILL = "attention-decode-d128-2", "attention-prefill-d128-2"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tuned_file.platformdirs, "user_cache_path", lambda app: tmp_path / app)
    return tuned_path(HERE.gpu)


def timer(taken: dict[tuple[int, ...] | None, float]) -> Callable[[tuning.Work], float]:
    """Seconds by the configuration in use, 1 for those that are not told; a negative number has no room."""

    def seconds(work: tuning.Work) -> float:
        del work
        found = taken.get(tuned.numbers_of(DECODE), 1.0)
        if found < 0:
            raise RuntimeError("out of resource: shared memory")
        return found

    return seconds


def fastest(taken: dict[tuple[int, ...] | None, float]) -> dict[str, tuple[int, ...]]:
    return tuning.fastest({DECODE: lambda: None}, timer(taken))


def test_the_fastest_candidate_is_found_and_nothing_stays_in_use() -> None:
    some, other = tuning.candidates(DECODE)[3], tuning.candidates(DECODE)[-1]
    assert fastest({some: 0.5, other: 0.6}) == {DECODE: some}
    assert fastest({some: -1.0, other: 0.6}) == {DECODE: other}
    assert tuned.numbers_of(DECODE) is None


def test_the_tables_own_stays_where_nothing_is_clearly_faster() -> None:
    assert fastest({tuning.candidates(DECODE)[0]: 0.98}) == {}


def test_what_was_written_is_used_and_other_models_keep_theirs() -> None:
    decode, prefill = tuning.candidates(DECODE)[1], tuning.candidates(PREFILL)[2]
    write_tuned(HERE, {PREFILL: prefill}, replacing=[PREFILL])
    write_tuned(HERE, {DECODE: decode}, replacing=[DECODE])
    assert read_tuned(HERE, tuning.candidates) == ({DECODE: decode, PREFILL: prefill}, None)
    write_tuned(HERE, {}, replacing=[DECODE])
    assert read_tuned(HERE, tuning.candidates) == ({PREFILL: prefill}, None)


def test_without_a_file_there_is_nothing_to_say() -> None:
    assert read_tuned(HERE, tuning.candidates) == ({}, None)


def valid() -> dict[str, Any]:
    origin = {"gpu": HERE.gpu, "triton": HERE.triton, "kernels": HERE.kernels}
    return {"origin": origin, "tiles": {DECODE: list(tuning.candidates(DECODE)[0])}}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"origin": {**valid()["origin"], "triton": "3.5.0"}}, "was measured with triton 3.5.0, and here is 3.6.0"),
        ({"origin": {**valid()["origin"], "kernels": "4567"}}, "was measured with kernels 4567, and here is 0123"),
        ({"origin": {**valid()["origin"], "gpu": "GPU-of-1-test"}}, "was measured with gpu GPU-of-1-test"),
        ({"tiles": {DECODE: [16, 4096, 4, 3]}}, f"has [16, 4096, 4, 3] for {DECODE}, which is none of its candidates"),
        ({"tiles": {"attention-dance": [1]}}, "has [1] for attention-dance"),
        ({"tiles": {DECODE: "fast"}}, "is not what `llmrt tune` writes"),
        ({"tile": {}}, "is not what `llmrt tune` writes"),
    ],
)
def test_a_foreign_file_is_one_line_and_is_not_used(change: dict[str, Any], said: str, cache: Path) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_text(json.dumps(valid()))
    assert read_tuned(HERE, tuning.candidates)[1] is None
    cache.write_text(json.dumps({**valid(), **change}))
    tiles, notice = read_tuned(HERE, tuning.candidates)
    assert tiles == {}
    assert notice is not None
    assert said in notice
    assert str(cache) in notice
    assert notice.endswith("run `llmrt tune MODEL` again.")
    assert "\n" not in notice


def test_a_broken_file_is_written_over_and_a_folder_in_its_place_is_one_line(cache: Path) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_bytes(b"{\xff")
    assert "is not what `llmrt tune` writes" in (read_tuned(HERE, tuning.candidates)[1] or "")
    write_tuned(HERE, {}, replacing=[])
    assert read_tuned(HERE, tuning.candidates) == ({}, None)
    cache.unlink()
    cache.mkdir()
    assert "cannot be read" in (read_tuned(HERE, tuning.candidates)[1] or "")
    with pytest.raises(ConfigError, match="cannot be written"):
        write_tuned(HERE, {}, replacing=[])
