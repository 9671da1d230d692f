"""The library: its instruction sets, every op of each against the generic one's in C++, and its version."""

from __future__ import annotations

import _ctypes
import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from llmrt_kernels.cpu.library import Library, load
from llmrt_kernels.cpu.structs import CONSTANTS, STRUCTS, ScaleArgs
from llmrt_kernels.layout import FORMS

SOURCES = Path(__file__).parents[2] / "kernels" / "csrc"
ONLY_BY_NAME = {"avx_vnni_evex"}


def test_every_op_equals_the_generic_one(tmp_path: Path) -> None:
    """The program that `make neon` runs in an emulator; it prints each op's error."""
    library = load()
    assert library is not None
    program = tmp_path / "compare_isas"
    compiler = os.environ.get("CXX", "c++")
    source, path = SOURCES / "tests" / "compare_isas.cpp", library.path
    command = [compiler, "-std=c++20", "-O1", f"-I{SOURCES}", source, path, f"-Wl,-rpath,{path.parent}", "-o", program]
    subprocess.run([*command, "-pthread"], check=True)
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_what_is_there_for_tests_is_never_the_default() -> None:
    library = load()
    assert library is not None
    assert library.choose_isa(None) == next(isa for isa in library.available_isas if isa not in ONLY_BY_NAME)
    assert library.available_isas[-1] == "generic"


def test_an_unknown_one_is_an_error_that_names_those_there_are() -> None:
    library = load()
    assert library is not None
    before = library.isa
    with pytest.raises(ValueError, match="generic"):
        library.choose_isa("avx9")
    assert library.isa == before


@pytest.mark.parametrize("name", ["llmrt_linear_args", "one_of_the_next_version"])
def test_a_library_with_other_structs_is_an_error(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    library = load()
    assert library is not None
    monkeypatch.setitem(STRUCTS, name, ScaleArgs)
    with pytest.raises(ValueError, match=f"^{re.escape(str(library.path))} .* `pip install -e"):
        Library(library.path)


def test_so_is_one_that_lacks_a_type(monkeypatch: pytest.MonkeyPatch) -> None:
    library = load()
    assert library is not None
    monkeypatch.setitem(FORMS, "q9_9", replace(FORMS["q5_1"], dtype=99))
    with pytest.raises(ValueError, match="pip install"):
        Library(library.path)


@pytest.mark.parametrize("name", [*CONSTANTS, "LLMRT_OF_THE_NEXT_VERSION"])
def test_so_is_one_that_needs_other_room(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    library = load()
    assert library is not None
    monkeypatch.setitem(CONSTANTS, name, 64)
    with pytest.raises(ValueError, match="pip install"):
        Library(library.path)


def test_so_is_one_from_before_they_were_compared() -> None:
    with pytest.raises(ValueError, match="pip install"):
        Library(Path(_ctypes.__file__))


def test_every_struct_is_compared() -> None:
    headers = (SOURCES / name for name in ("llmrt_layouts.h", "llmrt_cpu.h"))
    structs = [name for header in headers for name in re.findall(r"^struct (llmrt_\w+) {", header.read_text(), re.M)]
    assert sorted(structs) == sorted([*STRUCTS, "llmrt_call"])
