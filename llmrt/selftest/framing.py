"""Bodies and streams: what every chunk has, how a stream begins and ends, and what must never be in it."""

from __future__ import annotations

from llmrt.selftest.check import Checks, NotApplicableError, check, expect
from llmrt.selftest.server import Server

CHECKS: Checks = []
ASK = "Count from one to ten in words."
UNICODE = "Repeat this exactly: wörld 🌍 東京 naïve 🎉"
FINISH_REASONS = ("stop", "length", "tool_calls", "content_filter", "function_call")


@check(CHECKS, 1, "a chat completion has every field that strict clients check")
def _c1(server: Server) -> str:
    answer = server.chat(ASK)
    expect(answer.get("object") == "chat.completion" and isinstance(answer.get("id"), str), answer)
    expect(isinstance(answer.get("created"), int) and isinstance(answer.get("model"), str), answer)
    for choice in answer["choices"]:
        expect(isinstance(choice["index"], int) and choice["finish_reason"] in FINISH_REASONS, choice)
        message = choice["message"]
        expect(message["role"] == "assistant", message)
        expect({"content", "refusal"} <= set(message), f"keys of the message: {sorted(message)}")
    return f"finish_reason {answer['choices'][0]['finish_reason']}"


@check(CHECKS, 2, "chunks share id, created and model, and always have choices")
def _c2(server: Server) -> str:
    chunks = server.stream(ASK, stream_options={"include_usage": True}).chunks
    for name in ("id", "created", "model"):
        values = {chunk.get(name) for chunk in chunks}
        expect(len(values) == 1 and None not in values, f"{name} has the values {values}")
    for chunk in chunks:
        expect(chunk["object"] == "chat.completion.chunk" and isinstance(chunk.get("choices"), list), chunk)
    return f"{len(chunks)} chunks"


@check(CHECKS, 3, "the first chunk of each choice has the role, later ones have none")
def _c3(server: Server) -> str:
    stream = server.stream(ASK, n=2, temperature=1, seed=1)
    for index in (0, 1):
        roles = [delta.get("role") for delta in stream.deltas(index)]
        expect(roles and roles[0] == "assistant" and not any(roles[1:]), f"choice {index} has the roles {roles}")
    return "2 choices"


@check(CHECKS, 4, "finish_reason is null until the last chunk, whose delta is empty")
def _c4(server: Server) -> str:
    choices = [choice for chunk in server.stream(ASK).chunks for choice in chunk["choices"]]
    expect(all(choice["finish_reason"] is None for choice in choices[:-1]), "finish_reason comes early")
    expect(choices[-1]["finish_reason"] in FINISH_REASONS and choices[-1]["delta"] == {}, choices[-1])
    return f"ends with {choices[-1]['finish_reason']}"


@check(CHECKS, 5, "a stream ends with [DONE] and says that it is an uncached event stream")
def _c5(server: Server) -> str:
    stream = server.stream(ASK)
    expect(stream.text.endswith("data: [DONE]\n\n"), f"ends with {stream.text[-40:]!r}")
    kind, cache = stream.headers.get("content-type", ""), stream.headers.get("cache-control", "")
    expect(kind.replace(" ", "").lower() == "text/event-stream;charset=utf-8", f"content-type {kind!r}")
    expect("no-cache" in cache, f"cache-control {cache!r}")
    return kind


@check(CHECKS, 11, "a failure amid a stream is sent as an error, and the stream ends")
def _c11(server: Server) -> str:
    if "fail" not in server.orders:
        raise NotApplicableError("a failure cannot be brought about from outside")
    chunks = server.stream(server.orders["fail"]).chunks
    errors = [chunk["error"] for chunk in chunks if chunk.get("error")]
    expect(len(errors) == 1 and chunks[-1].get("error") and errors[0].get("message"), chunks[-1])
    return str(errors[0]["message"])


@check(CHECKS, 13, "usage is streamed when asked for, in a chunk of its own, and never else")
def _c13(server: Server) -> str:
    plain = server.stream(ASK).chunks
    expect(not any(chunk.get("usage") for chunk in plain), "usage comes unasked")
    *earlier, last = server.stream(ASK, stream_options={"include_usage": True}).chunks
    expect(last["choices"] == [] and last["usage"]["completion_tokens"] > 0, last)
    missing = [chunk for chunk in earlier if "usage" not in chunk or chunk["usage"] is not None]
    expect(not missing, f"an earlier chunk has no usage: null: {missing[:1]}")
    return f"{last['usage']['completion_tokens']} tokens"


@check(CHECKS, 22, "characters are never broken, and deltas joined are the whole answer")
def _c22(server: Server) -> str:
    whole = server.chat(UNICODE, max_tokens=60)["choices"][0]["message"]["content"]
    joined = server.stream(UNICODE, max_tokens=60).content()
    expect("\ufffd" not in whole + joined, f"U+FFFD in {joined!r}")
    expect(joined == whole, f"streamed {joined!r}, whole {whole!r}")
    return repr(whole[:60])


@check(CHECKS, 35, "a stream that has nothing to say yet sends comments")
def _c35(server: Server) -> str:
    if "pause" not in server.orders:
        raise NotApplicableError("a long silence cannot be brought about from outside")
    text = server.stream(server.orders["pause"]).text
    comments = [line for line in text.split('"content":"', 1)[0].splitlines() if line.startswith(":")]
    expect(comments, text[:200])
    return f"{len(comments)} comments such as {comments[0]!r}"


@check(CHECKS, 45, "no empty deltas, no empty data lines, no content mixed with calls")
def _c45(server: Server) -> str:
    stream = server.stream(ASK)
    expect(all(stream.data), "an empty data line")
    deltas = stream.deltas()
    empty = [delta for delta in deltas[1:-1] if not any(value for value in delta.values())]
    expect(not empty, f"{len(empty)} of {len(deltas)} deltas are empty")
    expect(not any(delta.get("content") and delta.get("tool_calls") for delta in deltas), "content mixed with calls")
    return f"{len(deltas)} deltas"
