"""The Dockerfile's RUN lines are make targets, and they work in an empty folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def stages() -> dict[str, list[str]]:
    """The Dockerfile's lines, by the stage they belong to."""
    found: dict[str, list[str]] = {}
    for line in (ROOT / "Dockerfile").read_text().splitlines():
        if start := re.match(r"FROM .* AS (\S+)", line):
            found[start[1]] = []
        elif found and line:
            found[list(found)[-1]].append(line)
    return found


def test_every_run_line_is_a_make_target() -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    runs = [line for lines in stages().values() for line in lines if line.startswith("RUN ")]
    assert runs
    for run in runs:
        words = run.split()
        assert words[1] == "make" and words[2] in targets, run


def test_images_run_as_an_ordinary_user_and_tell_their_health() -> None:
    for name in ("cpu", "cuda"):
        lines = stages()[name]
        user = next(line for line in lines if line.startswith("USER "))
        assert user.split()[1].split(":")[0] not in ("root", "0")
        assert any(line.startswith("HEALTHCHECK") for line in lines)


@pytest.mark.timeout(1800)  # an environment is made and the native library compiled, beside other tests
def test_the_build_stage_works_in_an_empty_folder(tmp_path: Path) -> None:
    source = tmp_path / "src"
    source.mkdir()
    copied = [line.split()[1:-1] for line in stages()["build-cpu"] if line.startswith("COPY ")]
    for name in (name for names in copied for name in names):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source / name)
    (run,) = [line for line in stages()["build-cpu"] if line.startswith("RUN ")]
    target = run.split()[2]
    arguments = [f"PYTHON={sys.executable}", f"PREFIX={tmp_path}/env", f"MODELS={tmp_path}/models"]
    # The native library with little optimization, which takes half as long.
    environment = {**os.environ, "SKBUILD_CMAKE_BUILD_TYPE": "Sanitized"}
    subprocess.run(["make", target, *arguments], cwd=source, env=environment, check=True)
    shutil.rmtree(source)
    command = [f"{tmp_path}/env/bin/llmrt", "show", "mistral-7b"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "mistralai" in done.stdout
