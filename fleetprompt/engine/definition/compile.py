"""Models to a plan: one normal form, so that files that mean the same have the same digest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fleetprompt.engine.core.agent import Agent
from fleetprompt.engine.core.plan import Block, Guardrails, Node, Plan, Reconcile, Retry
from fleetprompt.engine.definition.models import WorkflowModel
from fleetprompt.engine.definition.outline import parse_need
from fleetprompt.engine.definition.step import ReconcileModel, StepModel, own_fields

_JOINS = {"all": 0, "any": 1}


def compile_workflow(
    model: WorkflowModel,
    *,
    uses_last_run: bool = False,
    files: Mapping[str, str] | None = None,
    agents: Mapping[str, Agent] | None = None,
    schemas: Mapping[str, Any] | None = None,
) -> Plan:
    """The plan of a valid workflow. `files` are the digests of the files it names, by path; `agents` are those that it
    names, and `schemas` the JSON Schemas in files, by path."""
    compiler = _Compiler(schemas or {})
    for agent in (agents or {}).values():
        compiler.children |= {function.workflow for function in agent.functions}
    root = compiler.block("", model.steps)
    return Plan(
        name=model.name,
        root=root,
        description=model.description,
        inputs={name: declared.compiled() for name, declared in model.inputs.items()},
        vars=model.vars,
        output=model.output,
        has_output=model.output is not None,
        guardrails=model.guardrails.compiled() if model.guardrails else Guardrails(),
        deadline=model.deadline,
        on_failure=model.on_failure,
        concurrency=model.concurrency.compiled() if model.concurrency else None,
        max_runs=model.max_runs,
        priority=model.priority,
        grace=model.grace,
        triggers=tuple(trigger.compiled() for trigger in model.triggers),
        labels=model.labels,
        retention=model.retention,
        uses_last_run=uses_last_run,
        children=tuple(sorted(compiler.children)),
        agents=dict(sorted((agents or {}).items())),
        files=dict(sorted((files or {}).items())),
    )


class _Compiler:
    def __init__(self, schemas: Mapping[str, Any]) -> None:
        self.children: set[str] = set()
        self._schemas = schemas

    def block(self, name: str, steps: list[StepModel]) -> Block:
        return Block(name, tuple(self.node(step, step.id or "") for step in steps))

    def node(self, step: StepModel, id_: str) -> Node:
        kind = step.kind
        config = step.config()
        for field in step.schema_fields:
            if isinstance(config.get(field), str):
                config[field] = self._schemas.get(config[field])
        if kind == "workflow":
            self.children.add(str(config["workflow"]))
        # What a type gives a meaning of its own is part of its configuration or structure.
        redefined = own_fields(type(step))
        fields: dict[str, Any] = {
            "when": None if "if_" in redefined else step.if_,
            "timeout": None if "timeout" in redefined else step.timeout,
            "concurrency": step.concurrency.compiled() if step.concurrency and "concurrency" not in redefined else None,
            "pool": step.pool or step.pool_name,
            "gated": step.gated,
            "resumes": step.resumes,
            "guardrails": step.guardrails.compiled() if step.guardrails else None,
            **step.structure(self),
        }
        return Node(
            id=id_,
            type=step.type,
            kind=kind,
            config=config,
            needs=None if step.needs is None else tuple(parse_need(need) for need in step.needs),
            join=_JOINS.get(step.join, 0) if isinstance(step.join, str) else step.join,
            retry=step.retry.compiled() if step.retry else Retry(),
            repeat=step.repeats(),
            on_error=step.on_error,
            compensate=self.node(step.compensate, id_) if step.compensate else None,
            reconcile=_reconcile(step.reconcile) if step.reconcile else None,
            approval=step.approval.model_dump(mode="json", by_alias=True, exclude_defaults=True, warnings=False)
            if step.approval
            else None,
            set=step.set,
            asserts=tuple(step.asserts),
            poll=step.poll.compiled() if step.poll else None,
            **fields,
        )


def _reconcile(model: ReconcileModel) -> Reconcile:
    check = model.step
    assert check is not None
    timeout = check.timeout if check.timeout is not None else 30.0
    return Reconcile(check.type, check.config(), model.happened, model.output, timeout)
