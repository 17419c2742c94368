"""Performs effects: the only place where a step type is called, and where an exception becomes an outcome."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import msgspec

from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.errors import Failure, FleetError
from fleetprompt.engine.core.evolve_work import started_by
from fleetprompt.engine.core.facts import AnyFact
from fleetprompt.engine.core.keys import effect_key
from fleetprompt.engine.core.names import seen
from fleetprompt.engine.core.outcome import failed, reconciled, succeeded, unknown
from fleetprompt.engine.core.rendered import loaded, render_config
from fleetprompt.engine.core.state import Run, Step
from fleetprompt.engine.core.tracing import of_step
from fleetprompt.engine.ports import Done, Effect, Failed, Outcome, Unknown
from fleetprompt.engine.registry import STEPS
from fleetprompt.engine.runtime.check import CheckContext
from fleetprompt.engine.runtime.context import StepContext
from fleetprompt.engine.runtime.driver import Driver
from fleetprompt.engine.runtime.files import code_folder
from fleetprompt.engine.runtime.message import Ask
from fleetprompt.engine.runtime.pools import Pool
from fleetprompt.engine.runtime.values import decoded
from fleetprompt.engine.runtime.work import WorkContext

if TYPE_CHECKING:
    from fleetprompt.engine.runtime.engine import Engine

LEAST_SECONDS = 0.001
"""For work that has used up its time: it is over as soon as it waits for anything."""


class Performer:
    """Turns what a run owes into tasks, and their outcomes into messages for its driver."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def start(self, driver: Driver, step: Step) -> asyncio.Task[None]:
        """Begin to perform the effect of a step (or its reconcile check)."""
        work = self._reconcile if step.status == "in_doubt" else self._perform
        return asyncio.get_running_loop().create_task(work(driver, step))

    async def _perform(self, driver: Driver, step: Step) -> None:
        attempt = step.attempt
        node = step.program.node
        timeout = node.timeout
        if timeout is not None and step.work is not None:
            # Of an attempt that was put aside, or interrupted, only what it was active counts.
            timeout = max(LEAST_SECONDS, timeout - step.work.used)
        outcome = await self._outcome(driver, step, node.type, step.input, step.secrets or {}, timeout)
        if outcome is not None:
            driver.done_with(_told(self._engine, step.path, attempt, outcome))

    async def _reconcile(self, driver: Driver, step: Step) -> None:
        path, attempt = step.path, step.attempt
        spec = step.program.node.reconcile
        assert spec is not None
        run = driver.run
        try:
            config, secrets = await driver.loaded(
                run, lambda: render_config(run, step, step.program.value(spec.config), _checked(run, step))
            )
            outcome = await self._outcome(driver, step, spec.type, config, secrets, spec.timeout, check=True)
        except FleetError as error:
            outcome = Failed(Failure("VALIDATION_ERROR", error.message, hint=error.hint))
        if outcome is None:
            return
        if self._engine.secrets.known:
            outcome = _redacted(self._engine, outcome)
        if isinstance(outcome, Done):
            result, error_found = outcome.output, None
        elif isinstance(outcome, Failed):
            result, error_found = None, outcome.error
        else:
            result, error_found = None, Failure("INTERNAL", outcome.reason)

        def ask(run: Run, now: float) -> list[AnyFact]:
            found = run.steps.get(path)
            if found is None or found.attempt != attempt or found.status != "in_doubt":
                return []
            return reconciled(run, found, max(now, run.at), result, error_found)

        driver.done_with(ask)

    async def _outcome(
        self,
        driver: Driver,
        step: Step,
        type_: str,
        input_: Any,
        secrets: dict[str, list[Any]],
        timeout: float | None,
        *,
        check: bool = False,
    ) -> Outcome | None:
        """What came of the work; None when it was called off. `check`: it only finds out what became of other work."""
        engine = self._engine
        run = driver.run
        created = run.created
        assert created is not None
        node = step.program.node
        try:
            kind = STEPS.get(type_)
        except FleetError as error:
            return Failed(Failure("VALIDATION_ERROR", error.message, hint=error.hint, retryable=False))
        pool = driver.places.pop(step.path, None)
        taken = pool is not None
        clock = asyncio.get_running_loop().time
        try:
            if pool is None:
                pool = engine.pool(node.pool or kind.pool_name)
                if pool is not None:
                    await pool.take(created.priority)
                    taken = True
            if input_ is None and step.input_blob is not None and type_ == node.type:
                input_ = await self._hydrate(step.input_blob.digest, created.tenant)
            effect = effect_of(
                engine, run, step, type_, input_, secrets=secrets, timeout=timeout, pool=pool.name if pool else ""
            )
            context = _context(kind.resumes, check)(engine, driver, effect)
            began = clock()
            work = kind.perform(context)
            outcome = cast("Outcome", await (work if timeout is None else _within(timeout, work)))
            driver.work += clock() - began
            return outcome
        except asyncio.CancelledError:
            task = asyncio.current_task()
            return None if task is None or task.cancelling() else Unknown("the work ended itself by a cancellation")
        except FleetError as error:
            failure = Failure(error.code, error.message, hint=error.hint, retryable=False)
            return Failed(failure)
        except (Exception, SystemExit) as error:
            # `SystemExit` too: a step type that ends the process must not end the engine.
            engine.trouble(f"step {step.path} of run {created.run}", error)
            return Unknown(f"{type(error).__name__}: {error}")
        finally:
            if taken:
                cast("Pool", pool).give()

    async def _hydrate(self, digest: str, tenant: str) -> Any:
        blobs = self._engine.store.blobs
        data = await self._engine.patient(f"blob {digest[:12]}", lambda: blobs.get(digest, tenant))
        if data is None:
            raise FleetError(f"the input of this step is gone (blob {digest[:12]})", hint="it was pruned")
        return decoded(digest, data)


def effect_of(
    engine: Engine,
    run: Run,
    step: Step,
    type_: str,
    input_: Any,
    *,
    secrets: dict[str, list[Any]] | None = None,
    timeout: float | None = None,
    pool: str = "",
) -> Effect:
    """The work that a step owes, as a step type is given it."""
    created = run.created
    assert created is not None
    return Effect(
        run=created.run,
        tenant=created.tenant,
        path=step.path,
        attempt=step.attempt,
        type=type_,
        input=input_,
        secrets=secrets or {},
        key=effect_key(run, step),
        timeout=timeout,
        pool=pool,
        repeat=step.program.node.repeat,
        workflow=created.workflow,
        directory=engine.directory,
        code=code_folder(created.source.file, engine.directory),
        traceparent=of_step(created, step).traceparent if engine.tracing else "",
    )


def _context(resumes: bool, check: bool) -> type[StepContext]:
    if not resumes:
        return StepContext
    return CheckContext if check else WorkContext


def _checked(run: Run, step: Step) -> dict[str, Any]:
    """What a reconcile check is told of the work that is in doubt. Raises `NeedsValue`."""
    call = step.work.doubt if step.work is not None else ""
    begun = mapping(loaded(run, started_by(step, call))) if call else {}
    return {"key": str(begun.get("key") or effect_key(run, step)), "input": seen(run, step.input_blob or step.input)}


async def _within(timeout: float, work: Any) -> Outcome:
    limit = asyncio.timeout(timeout)
    try:
        async with limit:
            return cast("Outcome", await work)
    except TimeoutError:
        if not limit.expired():
            raise
        return _Expired(f"the attempt was active for {timeout:g} s, its limit")


class _Expired(Unknown, frozen=True):
    """The attempt took too long and was stopped."""


def _told(engine: Engine, path: str, attempt: int, outcome: Outcome) -> Ask:
    """What the driver is told: facts, made by the core from the outcome at the time it is taken up."""
    secrets = engine.secrets
    if secrets.known:
        outcome = _redacted(engine, outcome)

    def ask(run: Run, now: float) -> list[AnyFact]:
        step = run.steps.get(path)
        if step is None or step.attempt != attempt or step.status != "running":
            return []
        at = now if now > run.at else run.at
        if isinstance(outcome, Done):
            wait = outcome.retry_after
            return succeeded(run, step, at, outcome.output, port=outcome.port, usage=outcome.usage, retry_after=wait)
        if isinstance(outcome, Failed):
            return failed(run, step, at, outcome.error, retry_after=outcome.retry_after)
        return unknown(run, step, at, outcome.reason, "TIMEOUT" if isinstance(outcome, _Expired) else "INTERNAL")

    return ask


def _redacted(engine: Engine, outcome: Outcome) -> Outcome:
    """The outcome without secrets. One that cannot be looked through for them is not told at all."""
    redact = engine.secrets.redact_value
    try:
        if isinstance(outcome, Done):
            return msgspec.structs.replace(outcome, output=redact(outcome.output))
        if isinstance(outcome, Failed):
            error = msgspec.structs.replace(
                outcome.error,
                message=redact(outcome.error.message),
                hint=redact(outcome.error.hint),
                data=redact(outcome.error.data),
            )
            return Failed(error, outcome.retry_after)
        return msgspec.structs.replace(outcome, reason=redact(outcome.reason))
    except Exception as error:
        engine.trouble("outcome of a step", error)
        return Unknown(f"what came of it is no JSON, and cannot be looked through for secrets: {type(error).__name__}")
