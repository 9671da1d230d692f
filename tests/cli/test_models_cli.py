"""The commands about models, as a user runs them."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from llmrt import __version__
from llmrt.cli import tables
from llmrt.cli.main import COMMANDS, main
from llmrt.hub import store
from llmrt.hub.prompts import prompts_folder
from llmrt.hub.store import model_key
from tests.hub.hub_server import HubServer
from tests.hub.samples import REPO, WEIGHTS, tiny_gguf, tiny_repo

HEAVY = ("torch", "transformers", "huggingface_hub", "fastapi", "gguf", "numpy")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLMRT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


@pytest.fixture
def llmrt(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run a command line in this process: (status, stdout, stderr)."""

    def run(*arguments: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["llmrt", *arguments])
        with pytest.raises(SystemExit) as exit_info:
            main()
        out, err = capsys.readouterr()
        return exit_info.value.code, out, err

    return run


RUN = "from llmrt.cli.main import main; main()"


def environment(folder: Path, **extra: str) -> dict[str, str]:
    """This one without its hub settings; a process of its own reads them when huggingface_hub is imported."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    return clean | {"HF_HOME": str(folder / "hf"), "NO_PROXY": "127.0.0.1,localhost"} | extra


def spawn(folder: Path, *arguments: str, code: str = RUN, answer: str = "", **env: str):
    """Run a command line in a Python of its own."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=environment(folder, **env),
        cwd=folder,
        input=answer,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["show", "mistral-7b"], ["pull", "--help"]])
def test_light_commands_import_nothing_heavy(home: Path, arguments: list[str]) -> None:
    code = f"""
import sys
from llmrt.cli.main import main
try:
    main()
except SystemExit as end:
    assert not end.code
print("LOADED", [name for name in {HEAVY!r} if name in sys.modules])
"""
    done = spawn(home, *arguments, code=code)
    assert done.stdout.splitlines()[-1] == "LOADED []", done.stderr


def test_help_lists_every_command_with_its_line(llmrt) -> None:
    status, out, _ = llmrt("--help")
    assert status == 0
    for name, (_, summary) in COMMANDS.items():
        assert name in out
        assert summary in out


def test_version(llmrt) -> None:
    assert llmrt("--version") == (0, f"llmrt {__version__}\n", "")


def test_bad_usage_is_status_2_with_a_suggestion(llmrt) -> None:
    status, _, err = llmrt("shwo")
    assert status == 2
    assert "show" in err
    assert llmrt("show")[0] == 2


def test_an_error_is_one_line_on_stderr(llmrt) -> None:
    status, out, err = llmrt("show", "nothing")
    assert (status, out) == (1, "")
    assert err.startswith("error: no folder, file, alias or repository")
    assert err.count("\n") == 1


def test_ctrl_c_is_status_130_without_a_traceback(llmrt, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("llmrt.cli.models.resolve", interrupt)
    status, out, err = llmrt("pull", "mistral-7b")
    assert (status, out) == (130, "")
    assert "Traceback" not in err


@pytest.mark.parametrize("module", ["llmrt.cli.main", "typer"])
def test_ctrl_c_while_the_command_line_is_imported(tmp_path: Path, module: str) -> None:
    code = f"""
import os, signal, sys
class Interrupt:
    def find_spec(self, name, *_):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
from llmrt.__main__ import main
main()
"""
    done = spawn(tmp_path, "list", code=code)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_windows_is_refused_in_one_line(tmp_path: Path) -> None:
    done = spawn(tmp_path, "list", code="import sys; sys.platform = 'win32'; from llmrt.__main__ import main; main()")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "WSL 2" in done.stderr


def test_a_closed_pipe_is_quiet(home: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        done = subprocess.run(
            [sys.executable, "-c", RUN, "list"], stdout=closed, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.stderr == ""


def test_an_empty_store_lists_the_aliases_with_their_sizes(llmrt) -> None:
    status, out, _ = llmrt("list")
    assert status == 0
    assert "No model is pulled yet" in out
    mixtral = next(line for line in out.splitlines() if line.startswith("mixtral-8x7b"))
    assert "93.4 GB" in mixtral and "46.7 B" in mixtral and "Apache-2.0" in mixtral
    assert "to be accepted" in next(line for line in out.splitlines() if line.startswith("llama-2-7b"))


def test_list_as_json(llmrt) -> None:
    listing = json.loads(llmrt("list", "--json")[1])
    assert listing["pulled"] == []
    sizes = {entry["name"]: entry["bytes"] for entry in listing["available"]}
    assert sizes["mistral-7b"] == 2 * 7_248_023_552


def test_show_an_alias(llmrt) -> None:
    _, out, _ = llmrt("show", "llama-3.1-8b")
    for fact in ("not pulled", "meta-llama/Llama-3.1-8B-Instruct", "Llama 3.1 Community License", "8,030,261,248"):
        assert fact in out
    assert "https://huggingface.co/meta-llama/Llama-3.1-8B-Instruct" in out
    assert "16.1 GB (computed" in out
    shown = json.loads(llmrt("show", "mistral-7b-v0.1", "--json")[1])
    assert shown["config"]["sliding_window"] == 4096


def test_show_a_gguf_file(llmrt, home: Path) -> None:
    data = tiny_gguf(home / "m.gguf")
    shown = json.loads(llmrt("show", str(home / "m.gguf"), "--json")[1])
    assert (shown["status"], shown["num_bytes"]) == ("local", len(data))
    assert shown["config"]["context_length"] == 64
    (home / "bad.gguf").write_bytes(data[:40])
    status, _, err = llmrt("show", str(home / "bad.gguf"))
    assert status == 1
    assert "bad.gguf" in err


def test_pull_show_list_rm_against_a_hub(home: Path, llmrt) -> None:
    """HF_ENDPOINT, HF_HOME, HF_TOKEN and HF_HUB_OFFLINE are those of the environment."""
    with HubServer({REPO: tiny_repo()}) as hub:
        hub.faults.gated.add(REPO)
        refused = spawn(home, "pull", REPO, HF_ENDPOINT=hub.url)
        assert refused.returncode == 1
        assert refused.stderr.splitlines()[-1].startswith(f"error: {REPO} is gated")
        pulled = spawn(home, "pull", REPO, HF_ENDPOINT=hub.url, HF_TOKEN=hub.TOKEN)
    assert pulled.returncode == 0, pulled.stderr
    start, end, using = pulled.stderr.splitlines()
    assert (start.split(",")[1], end.split(" in ")[0]) == (" 3.5 MB", "downloaded 3.5 MB")
    path = Path(using.rpartition(", ")[2])
    assert path.is_relative_to(home / "hf" / "hub")
    assert (path / "model.safetensors").read_bytes() == WEIGHTS

    again = spawn(home, "pull", REPO, HF_HUB_OFFLINE="1")
    assert again.stderr.splitlines() == [using]
    entry = json.loads(llmrt("list", "--json")[1])["pulled"][0]
    assert (entry["name"], entry["missing"]) == (REPO, None)
    _, shown, _ = llmrt("show", REPO)
    assert str(path) in shown and "model.safetensors" in shown

    assert llmrt("rm", REPO, "--yes")[0] == 0
    assert not path.exists()
    assert not list((home / "hf" / "hub").glob("models--*"))
    status, _, err = llmrt("rm", REPO, "--yes")
    assert (status, "not pulled" in err) == (1, True)


def test_rm_deletes_what_is_kept_of_prompts(home: Path, llmrt) -> None:
    models = [home / name for name in ("one", "other")]
    kept = [prompts_folder() / model_key(model) / "print" / "a.kv" for model in models]
    for model, file in zip(models, kept, strict=True):
        model.mkdir()
        file.parent.mkdir(parents=True)
        file.write_bytes(b"x" * 2500)
    assert "5.0 kB are kept" in llmrt("doctor")[1]
    status, _, err = llmrt("rm", str(models[0]), "--prompts", "--yes")
    assert (status, [file.exists() for file in kept]) == (0, [False, True])
    assert "2.5 kB are freed" in err and models[0].exists()
    assert llmrt("rm", "--prompts", "--yes")[0] == 0
    assert not kept[1].exists()
    status, _, err = llmrt("rm")
    assert (status, "rm needs a MODEL, or --prompts" in err) == (1, True)


def test_rm_asks_first(home: Path) -> None:
    with HubServer({REPO: tiny_repo()}) as hub:
        assert spawn(home, "pull", REPO, HF_ENDPOINT=hub.url).returncode == 0
    kept = spawn(home, "rm", REPO, answer="n\n")
    assert kept.returncode == 1
    assert "3.5 MB are freed" in kept.stderr
    assert REPO in spawn(home, "list").stdout
    assert spawn(home, "rm", REPO, answer="y\n").returncode == 0
    assert REPO not in spawn(home, "list").stdout


def test_a_terminal_shows_a_bar_with_size_and_rate(home: Path) -> None:
    terminal, child = pty.openpty()
    with HubServer({REPO: tiny_repo()}) as hub:
        settings = environment(home, HF_ENDPOINT=hub.url, TERM="xterm", COLUMNS="200")
        process = subprocess.Popen([sys.executable, "-c", RUN, "pull", REPO], env=settings, stderr=child)
        os.close(child)
        shown = b""
        with contextlib.suppress(OSError):  # raised when the process has closed the terminal's other end
            while chunk := os.read(terminal, 65536):
                shown += chunk
        assert process.wait() == 0
    os.close(terminal)
    assert b"3.5/3.5 MB" in shown
    assert b"/s" in shown
    assert f"using {REPO}".encode() in shown


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is always full")
def test_a_disk_too_full_for_the_output_is_one_line(home: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", RUN, "list"], env=environment(home), stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 1
    assert done.stderr == "error: the output cannot be written: No space left on device\n"


def test_a_narrow_terminal_folds_what_is_long_and_cuts_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tables, "console", lambda: Console(width=30))
    path = "/srv/models/" + "very-long-name-" * 4
    tables.print_facts([("path", path)])
    tables.print_rows(("NAME", "SIZE", "SOURCE"), [("tiny", "1 MB", path)])
    facts, rows = capsys.readouterr().out.split("NAME")
    assert "".join(facts.split()) == f"path{path}"
    assert path in "".join(rows.split()).replace("tiny1MB", "")


def test_a_store_that_may_not_be_entered_is_named(llmrt, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", f"/closed/{name}.json")

    monkeypatch.setattr(store, "load", refuse)
    status, _, said = llmrt("bench", "smollm2-135m")
    assert (status, said) == (1, "error: /closed/smollm2-135m.json cannot be used: Permission denied\n")


@pytest.mark.parametrize("command", [("show",), ("quantize", "tiny", "-o")])
def test_a_name_longer_than_a_file_may_have_is_one_line(llmrt, command: tuple[str, ...]) -> None:
    name = "a" * 300
    status, _, said = llmrt(*command, name)
    assert (status, said) == (1, f"error: {name} cannot be used: {os.strerror(errno.ENAMETOOLONG)}\n")
