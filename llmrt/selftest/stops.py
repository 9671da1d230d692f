"""Stop strings."""

from __future__ import annotations

from llmrt.selftest.check import Checks, check, expect
from llmrt.selftest.framing import ASK
from llmrt.selftest.server import Server

CHECKS: Checks = []


@check(CHECKS, 21, "stop strings end an answer at their first place, leave nothing of themselves, lose nothing else")
def _c21(server: Server) -> str:
    full = server.chat(ASK, max_tokens=40)["choices"][0]["message"]["content"]
    expect(len(full) >= 12, f"the answer is too short to stop in: {full!r}")
    middle = len(full) // 2
    stop = full[middle - 2 : middle + 3]
    expected = full[: full.index(stop)]
    for given in (stop, ["\ue000", "\ue001", "\ue002", stop]):
        whole = server.chat(ASK, max_tokens=40, stop=given)["choices"][0]
        expect(whole["message"]["content"] == expected, f"{whole['message']['content']!r}, not {expected!r}")
        expect(whole["finish_reason"] == "stop", whole["finish_reason"])
        streamed = server.stream(ASK, max_tokens=40, stop=given)
        expect(streamed.content() == expected, f"streamed {streamed.content()!r}, not {expected!r}")
    almost = full[middle - 2 : middle + 1] + "\ue000"
    kept = server.stream(ASK, max_tokens=40, stop=[almost]).content()
    expect(kept == full, f"what could have become a stop string is lost: {kept!r}")
    text = server.ok("/v1/completions", {"model": server.model, "prompt": "1 2 3 4", "stop": " ", "max_tokens": 20})
    expect(" " not in text["choices"][0]["text"], text["choices"][0])
    return f"stopped before {stop!r}"
