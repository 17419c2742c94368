"""A server in its own process that speaks the interfaces of OpenAI, Anthropic and Google, and every way to fail.

    script = [{"calls": [{"name": "fs.read", "arguments": {"path": "a"}}]}, {"text": "done"}]
    with start_stub(tmp_path, script) as stub:
        ...  # model openai/stub, api_base stub.base
        assert len(stub.requests()) == 2

Without a script the model's name says what happens: `stub` answers, `stub-429` refuses, `stub-eof` breaks off: `MODES`.
With one, the n-th chat request gets the n-th answer. An answer is a mapping of `text`, `reasoning`, `calls` (name,
arguments as a mapping or as text, id), `finish`, `usage` (prompt, completion, cached; null: none is sent), `mode` (one
of `MODES`), `delay` and `pause` (seconds before it, and between its chunks), `when` (a text that the conversation
must hold: such answers are looked for first, and never used up), and `without_tools` (another answer, for requests
that offer none). Past its end the last answer is given again.
Every request is a line of JSON in a file: tests count them. Standard library only.
"""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

TEXT = [f"w{i} " for i in range(20)]
USAGE = {"prompt": 11, "completion": 7, "cached": 4}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
MODES = {
    "ok": "a call of the first tool while there is no result of one, else text",
    "429": "with Retry-After: 2",
    "429date": "with Retry-After as a date, a minute from now",
    "quota": "429 because the account is empty",
    "500": "",
    "503": "with Retry-After: 3",
    "529": "overloaded, as Anthropic says it",
    "401": "repeats the key",
    "400": "",
    "404": "",
    "ctx": "the prompt is too long",
    "badjson": "200 with half a JSON body",
    "badchunk": "a stream with a broken data line",
    "hang": "no answer",
    "silent": "two chunks, then silence",
    "drip": "one chunk every 0.05 s",
    "reset": "torn down in the middle of a chunk",
    "cut": "closed after two chunks, without an end",
    "close": "closed before any answer",
    "eof": "a clean end without finish_reason and [DONE]",
    "toolcut": "the same in the middle of a tool call",
    "errframe": "an error as a frame of the stream",
    "errfirst": "the same before anything else",
    "noidx": "two calls, both index 0",
    "two": "two calls, indexes 0 and 1",
    "noid": "two whole calls without ids, both index 0",
    "utf8": "arguments cut inside the bytes of a character",
    "surrogate": "text cut inside an escaped character",
    "nousage": "usage is never sent",
    "length": "finish_reason=length, in the middle of a call if there are tools",
    "stopcall": "finish_reason=stop with a call",
    "twofinish": "two chunks that finish",
    "nocall": "finish_reason=tool_calls without any",
    "reason": "reasoning before the text",
    "empty": "finishes without saying anything",
}


# ---------------------------------------------------------------- for tests


class Stub:
    """A server that runs."""

    def __init__(self, base: str, log: Path) -> None:
        self.base = base
        """`http://127.0.0.1:PORT/v1`"""
        self.root = base.removesuffix("/v1")
        """For Anthropic and Google."""
        self._log = log

    def requests(self, kind: str = "") -> list[dict[str, Any]]:
        """Requests so far (`path`, `headers`, `body`, `at`), GETs not counted; of a kind: those whose path holds it."""
        return [line for line in self._lines() if "path" in line and kind in line["path"]]

    def gone(self) -> int:
        """Clients that closed their connection before their answer was whole."""
        return sum("gone" in line for line in self._lines())

    def _lines(self) -> list[dict[str, Any]]:
        text = self._log.read_text() if self._log.exists() else ""
        # Of the last line it may be that only a part is there.
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


@contextmanager
def start_stub(folder: Path, script: list[dict[str, Any]] | Path | None = None) -> Iterator[Stub]:
    """A server that keeps its files in a folder, until the block ends. A script is a list of answers, or a file."""
    log = folder / f"requests-{time.time_ns()}.jsonl"
    file = script if isinstance(script, Path) else None
    if isinstance(script, list):
        file = log.with_suffix(".script.json")
        file.write_text(json.dumps(script))
    command = [sys.executable, __file__, str(log), *([str(file)] if file else [])]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        base = process.stdout.readline().strip()
        assert base, "the stub server did not start"
        yield Stub(base, log)
    finally:
        process.kill()
        process.communicate()


# ---------------------------------------------------------------- the server


def chunk(delta: dict[str, Any], finish: str | None = None, model: str = "stub", **extra: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": [choice], **extra}


def call(name: str, pieces: list[str], index: int | None = 0, id_: str = "") -> Iterator[dict[str, Any]]:
    """A call as it is streamed: the name first, then the arguments in pieces."""
    numbered = {} if index is None else {"index": index}
    first = {**numbered, "id": id_, "type": "function", "function": {"name": name, "arguments": ""}}
    yield {"tool_calls": [first]}
    for piece in pieces:
        yield {"tool_calls": [{**numbered, "function": {"arguments": piece}}]}


def sse(value: Any, event: str = "") -> bytes:
    data = value if isinstance(value, bytes) else json.dumps(value, ensure_ascii=False).encode()
    return (f"event: {event}\n".encode() if event else b"") + b"data: " + data + b"\n\n"


def openai_usage(usage: dict[str, int]) -> dict[str, Any]:
    total = usage["prompt"] + usage["completion"]
    details = {"cached_tokens": usage.get("cached", 0)}
    counts = {"prompt_tokens": usage["prompt"], "completion_tokens": usage["completion"], "total_tokens": total}
    return {**counts, "prompt_tokens_details": details}


class Script:
    """Answers in order."""

    def __init__(self, answers: list[dict[str, Any]]) -> None:
        self.keyed = [answer for answer in answers if "when" in answer]
        self.answers = [answer for answer in answers if "when" not in answer]
        self.at = 0

    def next(self, body: dict[str, Any]) -> dict[str, Any]:
        answer = self._found(json.dumps(body, ensure_ascii=False))
        return answer if body.get("tools") else answer.get("without_tools", answer)

    def _found(self, said: str) -> dict[str, Any]:
        for answer in self.keyed:
            if answer["when"] in said:
                return answer
        if not self.answers:
            return {"mode": "400"}
        answer = self.answers[min(self.at, len(self.answers) - 1)]
        self.at += 1
        return answer


def improvised(mode: str, body: dict[str, Any]) -> dict[str, Any]:
    """The answer of a mode, in the form of a script."""
    tool = (body.get("tools") or [{}])[0].get("function", {}).get("name", "get")
    a, b = ({"name": tool, "arguments": f'{{"path":"{name}.txt"}}', "id": f"call_{name}"} for name in "ab")
    match mode:
        case "two" | "noidx":
            return {"calls": [a, b]}
        case "noid":
            return {"calls": [{**a, "id": ""}, {**b, "id": ""}]}
        case "utf8":
            return {"calls": [{**a, "arguments": '{"path":"café"}'}]}
        case "stopcall":
            return {"calls": [a], "finish": "stop"}
        case "nocall":
            return {"text": "", "finish": "tool_calls"}
        case "empty":
            return {"text": ""}
        case "reason":
            return {"reasoning": "let me think", "text": "done"}
    if body.get("tools") and not any(message.get("role") == "tool" for message in body.get("messages", [])):
        if mode == "length":
            return {"calls": [{**a, "arguments": '{"q":"hi'}], "finish": "length"}
        return {"calls": [{**a, "arguments": '{"q":1}', "id": "call_1"}]}
    return {"text": "".join(TEXT), "finish": "length" if mode == "length" else "stop"}


class Reply:
    """One answer; a stream is chunked, so that a clean end and a torn one can be told apart."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer

    def whole(self, status: int, body: Any, headers: str = "") -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n{headers}\r\n"
        self.writer.write(head.encode() + data)

    def error(self, status: int, text: str, headers: str = "", **more: Any) -> None:
        self.whole(status, {"error": {"message": text, **more}}, headers)

    def open(self) -> None:
        head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        self.writer.write(head.encode())

    async def send(self, *frames: bytes) -> None:
        for data in frames:
            self.writer.write(b"%x\r\n%s\r\n" % (len(data), data))
            await self.writer.drain()

    async def end(self) -> None:
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()


class Server:
    def __init__(self, log: Path, script: Script | None) -> None:
        self.log = log
        self.script = script

    def note(self, line: dict[str, Any]) -> None:
        with self.log.open("a") as file:
            file.write(json.dumps(line) + "\n")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reply = Reply(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                method, path, _ = head[0].split(" ", 2)
                lines = (line.partition(":") for line in head[1:] if line)
                headers = {key.strip().lower(): value.strip() for key, _, value in lines}
                body = json.loads(await reader.readexactly(int(headers.get("content-length", 0))) or b"{}")
                if method == "GET":
                    self.get(reply, path)
                else:
                    self.note({"at": time.time(), "path": path, "headers": headers, "body": body})
                    answering = asyncio.ensure_future(self.answer(reply, path, headers, body))
                    hangup = asyncio.ensure_future(gone(reader))
                    await asyncio.wait({answering, hangup}, return_when=asyncio.FIRST_COMPLETED)
                    if not answering.done() or isinstance(answering.exception(), ConnectionError):
                        self.note({"gone": path, "at": time.time()})
                        answering.cancel()
                        hangup.cancel()
                        return
                    hangup.cancel()
                    await asyncio.wait({hangup})
                    if not answering.result():
                        return
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def get(self, reply: Reply, path: str) -> None:
        if path.endswith("/models"):
            reply.whole(200, {"object": "list", "data": [{"id": "stub", "object": "model"}]})
        elif path.startswith("/api/version"):
            reply.whole(200, {"version": "0.0.0-stub"})
        elif path.startswith("/api/tags"):
            reply.whole(200, {"models": [{"name": "stub"}]})
        elif path.endswith(".png"):
            reply.whole(200, base64.b64decode(PIXEL))
        else:
            reply.error(404, "nothing here")

    async def answer(self, reply: Reply, path: str, headers: dict[str, str], body: dict[str, Any]) -> bool:
        """Answer one request; False: the connection is of no use any more."""
        model = str(body.get("model", ""))
        if "streamGenerateContent" in path or "generateContent" in path:
            model = path.split("/models/")[1].split(":")[0]
        mode = model.rpartition("-")[2]
        scripted: dict[str, Any] = {}
        chat = not any(kind in path for kind in ("/embeddings", "/images"))
        if self.script is not None and chat:
            scripted = self.script.next(body)
            mode = str(scripted.get("mode", "ok"))
        mode = mode if mode in MODES else "ok"
        if scripted.get("delay"):
            await asyncio.sleep(scripted["delay"])
        if mode in FAILURES or mode in ("hang", "close", "429date", "401"):
            return await self.fail(reply, mode, headers)
        if "/embeddings" in path:
            embed(reply, body)
        elif "/images" in path:
            picture(reply, mode, body, headers)
        elif "/messages" in path:
            await anthropic(reply, body, scripted or improvised(mode, body), mode)
        elif "enerateContent" in path:
            await google(reply, scripted or improvised(mode, {"tools": None}), mode)
        elif body.get("stream"):
            return await stream(reply, mode, body, scripted or improvised(mode, body))
        else:
            plain(reply, body, scripted or improvised(mode, body), mode)
        return True

    async def fail(self, reply: Reply, mode: str, headers: dict[str, str]) -> bool:
        if mode == "close":
            return False
        if mode == "hang":
            await asyncio.sleep(600)
        elif mode == "429date":
            when = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 60))
            reply.error(429, "slow down", f"Retry-After: {when}\r\n")
        elif mode == "401":
            key = headers.get("authorization") or headers.get("x-api-key") or headers.get("x-goog-api-key") or ""
            reply.error(401, f"Incorrect API key provided: {key}", f"x-echo: {key}\r\n", code="invalid_api_key")
        else:
            status, text, extra, more = FAILURES[mode]
            reply.error(status, text, extra, **more)
        return True


FAILURES: dict[str, tuple[int, str, str, dict[str, str]]] = {
    "429": (429, "slow down", "Retry-After: 2\r\n", {"code": "rate_limit_exceeded"}),
    "quota": (429, "You exceeded your current quota", "", {"code": "insufficient_quota"}),
    "500": (500, "boom", "", {}),
    "503": (503, "busy", "Retry-After: 3\r\n", {}),
    "529": (529, "Overloaded", "", {"type": "overloaded_error"}),
    "400": (400, "bad request", "", {}),
    "404": (404, "The model `stub-404` does not exist", "", {"code": "model_not_found"}),
    "ctx": (400, "This model's maximum context length is 10 tokens", "", {"code": "context_length_exceeded"}),
}


async def gone(reader: asyncio.StreamReader) -> None:
    """Until the client hangs up: it has nothing to say while it is being answered."""
    with suppress(ConnectionError):
        await reader.read(1)


async def stream(reply: Reply, mode: str, body: dict[str, Any], answer: dict[str, Any]) -> bool:
    model = body.get("model", "stub")

    def c(delta: dict[str, Any], finish: str | None = None) -> bytes:
        return sse(chunk(delta, finish, model))

    if mode == "badjson":
        reply.whole(200, b'{"id": "x", "choices": [{"ind')
        return True
    reply.open()
    overloaded = sse({"error": {"message": "overloaded", "type": "server_error", "code": 529}})
    if mode == "errfirst":
        await reply.send(overloaded, sse(b"[DONE]"))
        await reply.end()
        return True
    await reply.send(c({"role": "assistant", "content": ""}))
    if mode in ("reset", "cut", "eof", "toolcut", "errframe", "badchunk", "silent"):
        await reply.send(c({"content": "par"}))
    match mode:
        case "reset":
            reply.writer.write(b"40\r\ndata: ")
            await reply.writer.drain()
            await asyncio.sleep(0.05)
            reply.writer.transport.abort()
            return False
        case "cut":
            return False
        case "silent":
            await asyncio.sleep(600)
        case "eof":
            await reply.end()
            return True
        case "toolcut":
            await reply.send(*(c(delta) for delta in call("get", ['{"path":"/data'], 0, "call_1")))
            await reply.end()
            return True
        case "errframe":
            await reply.send(overloaded, sse(b"[DONE]"))
            await reply.end()
            return True
        case "badchunk":
            await reply.send(sse(b"{oops"))
            await reply.end()
            return True
        case _:
            pass
    pause = answer.get("pause") or (0.05 if mode == "drip" else 0)
    for _ in range(answer.get("stamps", 0)):
        # Every piece says when it was sent.
        await reply.send(c({"content": f"@{time.time():.4f} "}))
        await asyncio.sleep(pause)
    for frame in pieces(mode, answer, c):
        await reply.send(frame)
        if pause:
            await asyncio.sleep(pause)
    finish = answer.get("finish") or ("tool_calls" if answer.get("calls") else "stop")
    await reply.send(*[c({}, finish)] * (2 if mode == "twofinish" else 1))
    usage = answer.get("usage", USAGE)
    if (body.get("stream_options") or {}).get("include_usage") and mode != "nousage" and usage:
        await reply.send(sse({**chunk({}, None, model), "choices": [], "usage": openai_usage(usage)}))
    await reply.send(sse(b"[DONE]"))
    await reply.end()
    return True


def pieces(mode: str, answer: dict[str, Any], c: Any) -> Iterator[bytes]:
    """The frames of an answer. `utf8` cuts one inside a character: a frame of HTTP is no frame of the stream."""
    if answer.get("reasoning"):
        yield c({"reasoning_content": answer["reasoning"]})
    if mode == "surrogate":
        yield b"data: " + json.dumps(chunk({"content": "caf\u00e9 \ud83d"})).encode() + b"\n\n"
        yield b"data: " + json.dumps(chunk({"content": "\ude00!"})).encode() + b"\n\n"
        return
    text = answer.get("text") or ""
    for at in range(0, len(text), 24):
        yield c({"content": text[at : at + 24]})
    for number, one in enumerate(answer.get("calls") or ()):
        arguments = one.get("arguments", {})
        written = arguments if isinstance(arguments, str) else json.dumps(arguments)
        id_ = one.get("id", f"call_{number}")
        index = 0 if mode in ("noidx", "noid") else number
        half = len(written) // 2
        if mode == "noid":
            whole = {"index": 0, "type": "function", "function": {"name": one["name"], "arguments": written}}
            yield c({"tool_calls": [whole]})
            continue
        frames = [c(delta) for delta in call(one["name"], [written[:half], written[half:]], index, id_)]
        if mode == "utf8":
            whole_bytes = b"".join(c(delta) for delta in call(one["name"], [written], index, id_))
            at = whole_bytes.index("é".encode()) + 1
            frames = [whole_bytes[:at], whole_bytes[at:]]
        yield from frames


def plain(reply: Reply, body: dict[str, Any], answer: dict[str, Any], mode: str) -> None:
    if mode == "badjson":
        reply.whole(200, b'{"id": "x", "choices": [{"ind')
        return
    calls = [
        {
            "id": one.get("id", f"call_{number}"),
            "type": "function",
            "function": {
                "name": one["name"],
                "arguments": one["arguments"] if isinstance(one["arguments"], str) else json.dumps(one["arguments"]),
            },
        }
        for number, one in enumerate(answer.get("calls") or ())
    ]
    message = {"role": "assistant", "content": answer.get("text") or None, **({"tool_calls": calls} if calls else {})}
    finish = answer.get("finish") or ("tool_calls" if calls else "stop")
    out = {"id": "c1", "object": "chat.completion", "created": 1, "model": body.get("model"), "choices": []}
    out["choices"] = [{"index": 0, "finish_reason": finish, "message": message}]
    usage = answer.get("usage", USAGE)
    reply.whole(200, out if mode == "nousage" or not usage else {**out, "usage": openai_usage(usage)})


def embed(reply: Reply, body: dict[str, Any]) -> None:
    texts = body.get("input", [])
    texts = [texts] if isinstance(texts, str) else texts
    rows = [
        {"object": "embedding", "index": at, "embedding": [float(len(text)), 1.0, 0.5]} for at, text in enumerate(texts)
    ]
    # Backwards: their order is that of `index`.
    usage = {"prompt_tokens": 5 * len(texts), "total_tokens": 5 * len(texts)}
    reply.whole(200, {"object": "list", "data": rows[::-1], "model": body.get("model"), "usage": usage})


def picture(reply: Reply, mode: str, body: dict[str, Any], headers: dict[str, str]) -> None:
    if body.get("model", "").endswith("url"):
        reply.whole(200, {"created": 1, "data": [{"url": f"http://{headers['host']}/pixel.png"}]})
    elif body.get("model", "").endswith("foreign"):
        reply.whole(200, {"created": 1, "data": [{"url": "http://169.254.169.254/latest"}]})
    elif body.get("model", "").endswith("none"):
        reply.whole(200, {"created": 1, "data": []})
    else:
        reply.whole(200, {"created": 1, "data": [{"b64_json": PIXEL, "revised_prompt": "a pixel"}]})


async def anthropic(reply: Reply, body: dict[str, Any], answer: dict[str, Any], mode: str) -> None:
    """The same answers, as Anthropic's interface streams them."""
    usage = answer.get("usage") or USAGE
    head = {"id": "m", "type": "message", "role": "assistant", "model": body.get("model"), "stop_reason": None}
    started = {"input_tokens": usage["prompt"] - usage["cached"], "cache_read_input_tokens": usage["cached"]}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**head, "content": [], "usage": {**started, "output_tokens": 1}}}
    ]
    blocks: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
    if answer.get("text"):
        parts = [answer["text"][at : at + 24] for at in range(0, len(answer["text"]), 24)]
        blocks.append(({"type": "text", "text": ""}, [{"type": "text_delta", "text": part} for part in parts]))
    for number, one in enumerate(answer.get("calls") or ()):
        arguments = one["arguments"] if isinstance(one["arguments"], str) else json.dumps(one["arguments"])
        half = len(arguments) // 2
        block = {"type": "tool_use", "id": one.get("id") or f"toolu_{number}", "name": one["name"], "input": {}}
        deltas = [{"type": "input_json_delta", "partial_json": part} for part in (arguments[:half], arguments[half:])]
        blocks.append((block, deltas))
    for index, (block, deltas) in enumerate(blocks):
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    if mode not in ("eof", "toolcut"):
        reasons = {"length": "max_tokens", "tool_calls": "tool_use", "stop": "end_turn"}
        finish = answer.get("finish") or ("tool_calls" if answer.get("calls") else "stop")
        delta = {"stop_reason": reasons[finish], "stop_sequence": None}
        events.append({"type": "message_delta", "delta": delta, "usage": {"output_tokens": usage["completion"]}})
        events.append({"type": "message_stop"})
    reply.open()
    await reply.send(*(sse(event, event["type"]) for event in events))
    await reply.end()


async def google(reply: Reply, answer: dict[str, Any], mode: str) -> None:
    """The same answers, as Google's interface streams them."""
    usage = answer.get("usage") or USAGE
    text = answer.get("text") or ""
    parts: list[dict[str, Any]] = [{"text": text[at : at + 24]} for at in range(0, len(text), 24)]
    for one in answer.get("calls") or ():
        arguments = one["arguments"] if isinstance(one["arguments"], dict) else json.loads(one["arguments"])
        parts.append({"functionCall": {"name": one["name"], "args": arguments}})
    frames: list[dict[str, Any]] = [
        {"candidates": [{"index": 0, "content": {"role": "model", "parts": [part]}}]} for part in parts
    ]
    counts = {"promptTokenCount": usage["prompt"], "candidatesTokenCount": usage["completion"]}
    if mode not in ("eof", "toolcut"):
        reason = "MAX_TOKENS" if answer.get("finish") == "length" else "STOP"
        content = {"role": "model", "parts": [{"text": ""}]}
        frames.append(
            {
                "candidates": [{"index": 0, "content": content, "finishReason": reason}],
                "usageMetadata": {**counts, "totalTokenCount": usage["prompt"] + usage["completion"]},
            }
        )
    reply.open()
    await reply.send(*(sse(frame) for frame in frames))
    await reply.end()


async def main(log: Path, script: Path | None) -> None:
    server = Server(log, Script(json.loads(script.read_text())) if script else None)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, backlog=1024)
    print(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1", flush=True)
    await listening.serve_forever()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None))
