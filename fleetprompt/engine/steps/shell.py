"""`shell`: run a program. There is no shell in it: arguments are a list, and nothing splits or expands them."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeAlias

import msgspec
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from fleetprompt.engine.core.evolve_work import PROCESS
from fleetprompt.engine.core.plan import Repeat
from fleetprompt.engine.definition.fields import DurationField, Templated, one_or_many, wrong
from fleetprompt.engine.definition.step import StepModel, step
from fleetprompt.engine.outside.wording import failed, size, took
from fleetprompt.engine.ports import Context, Done, Outcome
from fleetprompt.engine.steps._values import OptionalWord, Word, pointer, revealed, unusable

if TYPE_CHECKING:
    from fleetprompt.engine.outside.output import Stream

STDERR_KEPT = 64 * 1024
"""Bytes of standard error that are kept: its end."""
STDERR_SHOWN = 4 * 1024
INHERITED = frozenset((
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TERM", "TMPDIR", "TZ", "VIRTUAL_ENV",
    "CONDA_PREFIX", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS",
))  # fmt: skip
"""Variables of the engine's environment that every program gets, besides `LC_…`. Anything else may be a secret."""


def _no_text(value: Any) -> Any:
    if isinstance(value, str):
        raise wrong(
            "`argv` is a list: the program, then its arguments",
            f"write [{', '.join(value.split()[:4])}]; for pipes and `&&` write [sh, -c, '…']",
        )
    return value


Argv: TypeAlias = Annotated[list[Word], BeforeValidator(_no_text), Field(min_length=1, max_length=10_000)]


def _no_secret(name: str) -> str:
    if name.upper().startswith("FLEET_SECRET_"):
        # Handed on like this it would be unknown to the redactor, and shown wherever the program prints it.
        secret = name[len("FLEET_SECRET_") :]
        raise wrong("secrets are not inherited", f"write env: {{{secret}: ${{{{ secrets.{secret} }}}}}}")
    return name


EnvName: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=200)]
ExitCode: TypeAlias = Annotated[int, Field(ge=0, le=255)]


@step("shell")
class Shell(StepModel):
    """Run a program and wait for it. Output: `{exit_code, stdout, stderr, truncated, elapsed_ms}`.

    Every line that the program writes goes to the step log as it comes. The program runs in a process group of its
    own; on a timeout or when the run is cancelled the whole group is ended (a daemon that leaves the group, by
    `setsid`, goes on). A program that exits with another code than `expect_exit` names, or dies of a signal, fails the
    step with TOOL_ERROR. A crash of the engine leaves the step in doubt, unless `repeat: safe` says that the program
    may be run again; it is given `FLEET_IDEMPOTENCY_KEY`, which is the same for every attempt.
    """

    gated: ClassVar[bool] = True
    pool_name: ClassVar[str] = "shell"
    secret_fields: ClassVar[tuple[str, ...]] = ("/env", "/stdin")

    argv: Argv
    """The program and its arguments. Each is text, a number or a boolean; no shell reads them."""
    cwd: str | None = None
    """Folder to run in, relative to the project's. Default: the project's folder."""
    env: dict[EnvName, OptionalWord] = Field({})
    """Variables to add; null removes one. Besides them the program sees a short list of harmless ones (PATH, HOME,
    LANG, …) and FLEET_IDEMPOTENCY_KEY, FLEET_RUN_ID, FLEET_STEP, FLEET_ATTEMPT. Secrets are allowed here."""
    inherit_env: list[Annotated[EnvName, AfterValidator(_no_secret)]] = Field([])
    """Variables of the engine's own environment to hand on as well."""
    stdin: Any = None
    """Standard input: text as it is, anything else as JSON. Default: empty. Secrets are allowed here."""
    expect_exit: Annotated[list[ExitCode], one_or_many(lambda value: isinstance(value, int))] = Field([0])
    """Exit codes that mean success."""
    output: Literal["text", "json", "lines", "none"] = "text"
    """What becomes of standard output: `text` gives `stdout` (last line end removed), `json` gives the parsed value as
    `json`, `lines` a list as `lines`, `none` nothing. The log has it in any case."""
    max_output: Templated[Annotated[int, Field(ge=0, le=64 * 1024 * 1024)]] = 512 * 1024
    """Bytes of standard output that are kept for the output. Of more than that, the beginning and the end are kept
    and `truncated` is true."""
    kill_after: Templated[DurationField] = 5.0
    """Time between SIGTERM and SIGKILL when the program has to be stopped."""

    def repeats(self) -> Repeat:
        return self.repeat or "never"

    @classmethod
    async def perform(cls, ctx: Context) -> Outcome:
        try:
            wanted = cls.rendered(ctx.effect.input)
        except ValidationError as error:
            return unusable(error)
        cwd = _folder(wanted.cwd, ctx.effect.directory)
        if cwd is not None and not cwd.is_dir():
            return failed(
                f"there is no folder {cwd}", hint="`cwd` is relative to the project's folder", retryable=False
            )
        env = _environment(wanted, ctx)
        program = _program(wanted.argv[0], cwd, env.get("PATH", os.defpath))
        if program is None:
            return _not_found(wanted.argv[0], cwd)
        stdin = revealed(ctx, wanted.stdin, "/stdin")
        return await _run(wanted, ctx, [program, *wanted.argv[1:]], cwd, env, _input(stdin))


def _folder(cwd: str | None, directory: str) -> Path | None:
    base = Path(directory) if directory else None
    if cwd is None:
        return base
    return (base or Path()) / cwd


def _environment(wanted: Shell, ctx: Context) -> dict[str, str]:
    effect = ctx.effect
    names = INHERITED.union(wanted.inherit_env)
    env = {name: value for name, value in os.environ.items() if name in names or name.startswith("LC_")}
    for name, value in wanted.env.items():
        if value is None:
            env.pop(name, None)
        else:
            env[name] = revealed(ctx, value, pointer("env", name))
    env["FLEET_IDEMPOTENCY_KEY"] = effect.key
    env["FLEET_RUN_ID"] = effect.run
    env["FLEET_STEP"] = effect.path
    env["FLEET_ATTEMPT"] = str(effect.attempt)
    return env


def _program(name: str, cwd: Path | None, path: str) -> str | None:
    """Where the program is. Found before the start, so that a missing one is not an exit code 127 of the gate."""
    if "/" not in name:
        found = shutil.which(name, path=path)
        return str(Path(found).absolute()) if found else None
    file = (cwd or Path()) / name
    return str(file.absolute()) if file.is_file() and os.access(file, os.X_OK) else None


def _not_found(name: str, cwd: Path | None) -> Outcome:
    if "/" in name and ((cwd or Path()) / name).exists():
        return failed(f"`{name}` cannot be executed", hint=f"make it executable: chmod +x {name}", retryable=False)
    if "/" in name:
        return failed(f"there is no program `{name}`", hint="a path is relative to `cwd`", retryable=False)
    hint = "install it, or give its path; `env: {PATH: …}` changes where programs are looked for"
    if any(character.isspace() for character in name):
        hint = "the first item of `argv` is the program alone; its arguments are items of their own"
    return failed(f"there is no program `{name}` on the PATH", hint=hint, retryable=False)


def _input(stdin: Any) -> bytes:
    if stdin is None:
        return b""
    return stdin.encode() if isinstance(stdin, str) else msgspec.json.encode(stdin)


async def _run(
    wanted: Shell, ctx: Context, argv: list[str], cwd: Path | None, env: dict[str, str], stdin: bytes
) -> Outcome:
    from fleetprompt.engine.outside.output import Stream
    from fleetprompt.engine.outside.process import Process, identity

    kept = 0 if wanted.output == "none" else wanted.max_output
    stdout = Stream(lambda text: ctx.log(text, "stdout"), head=(kept + 1) // 2, tail=kept // 2)
    stderr = Stream(lambda text: ctx.log(text, "stderr"), tail=STDERR_KEPT)
    streams = {1: stdout, 2: stderr}
    ctx.log(f"$ {_shown(wanted.argv)}")
    started = time.perf_counter()
    try:
        process = Process.spawn(argv, env=env, cwd=cwd)
    except OSError as error:
        return failed(f"`{wanted.argv[0]}` cannot be started: {error.strerror}", retryable=False)
    ended = False
    try:
        await ctx.note(PROCESS, "", identity(process.pid, wanted.argv[0]))
        await process.release(stdin, lambda fd, data: streams[fd].feed(data))
        code = await process.ended()
        ended = True
    finally:
        if not ended:
            await process.stop(wanted.kill_after)
        for stream in streams.values():
            stream.close()
    elapsed = time.perf_counter() - started
    if process.left_open:
        ctx.log("the program left others running that hold its output; what they write is no longer read", "warning")
    outcome = _outcome(wanted, code, stdout, stderr, elapsed)
    ending = f"exit {code}" if code >= 0 else f"killed by {_signal_name(code)}"
    ctx.log(f"{ending} after {took(elapsed)}", "info" if isinstance(outcome, Done) else "error")
    return outcome


def _outcome(wanted: Shell, code: int, stdout: Stream, stderr: Stream, elapsed: float) -> Outcome:
    name = wanted.argv[0]
    errors = stderr.text()
    data: dict[str, Any] = {"exit_code": code, "stderr_tail": errors[-STDERR_SHOWN:]}
    if code < 0:
        data["signal"] = _signal_name(code)
        hint = "often the machine's memory has run out" if code == -signal.SIGKILL else ""
        return failed(f"`{name}` was killed by {data['signal']}", hint=hint, data=data)
    if code not in wanted.expect_exit:
        last = next((line for line in reversed(errors.splitlines()) if line.strip()), "").strip()
        return failed(f"`{name}` exited with {code}" + (f": {last[:300]}" if last else ""), data=data)
    result: dict[str, Any] = {"exit_code": code}
    if wanted.output == "text":
        result["stdout"] = _chomp(stdout.text())
    elif wanted.output == "lines":
        result["lines"] = _lines(stdout.text())
    elif wanted.output == "json":
        if stdout.truncated:
            message = f"the JSON that `{name}` wrote is larger than `max_output`: {size(stdout.size)}"
            return failed(message, hint="raise `max_output`", retryable=False, data=data)
        try:
            result["json"] = msgspec.json.decode(stdout.text())
        except (msgspec.DecodeError, RecursionError) as error:
            return failed(f"`{name}` did not write JSON: {error}", retryable=False, data=data)
    result["stderr"] = _chomp(errors)
    result["truncated"] = wanted.output != "none" and stdout.truncated
    result["elapsed_ms"] = round(elapsed * 1000, 1)
    return Done(result)


def _lines(text: str) -> list[str]:
    # Not `splitlines`, which also splits at form feeds and Unicode's own separators.
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")] if text else []


def _chomp(text: str) -> str:
    return text.removesuffix("\n").removesuffix("\r")


def _signal_name(code: int) -> str:
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def _shown(argv: list[str]) -> str:
    text = shlex.join(argv)
    return text if len(text) <= 500 else f"{text[:500]} …"
