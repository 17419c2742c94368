"""Names of the GenAI semantic conventions of OpenTelemetry, and our own beside them. The conventions are in
development and have moved before: they are named here and nowhere else.

Source: https://opentelemetry.io/docs/specs/semconv/gen-ai/ (spans, agent spans, metrics), as of semantic-conventions
0.66.
"""

from __future__ import annotations

from typing import Final

OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
RESPONSE_MODEL: Final = "gen_ai.response.model"
FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
CACHED_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
TOKEN_TYPE: Final = "gen_ai.token.type"
AGENT_NAME: Final = "gen_ai.agent.name"
TOOL_NAME: Final = "gen_ai.tool.name"
TOOL_CALL_ID: Final = "gen_ai.tool.call.id"
WORKFLOW_NAME: Final = "gen_ai.workflow.name"
CONVERSATION: Final = "gen_ai.conversation.id"
ERROR_TYPE: Final = "error.type"

CHAT: Final = "chat"
EXECUTE_TOOL: Final = "execute_tool"
INVOKE_AGENT: Final = "invoke_agent"
INVOKE_WORKFLOW: Final = "invoke_workflow"
OPERATIONS: Final = {"llm": CHAT, "image": "generate_content", "embedding": "embeddings"}
"""By the first word of a note's kind."""

RUN: Final = "fleetprompt.run.id"
TENANT: Final = "fleetprompt.tenant"
STEP: Final = "fleetprompt.step.path"
STEP_TYPE: Final = "fleetprompt.step.type"
ATTEMPT: Final = "fleetprompt.attempt"
CALL: Final = "fleetprompt.call.key"
STATUS: Final = "fleetprompt.status"
MODE: Final = "fleetprompt.mode"
COST: Final = "fleetprompt.cost.usd"
CORRELATION: Final = "fleetprompt.correlation.id"

TOKEN_USAGE: Final = "gen_ai.client.token.usage"
OPERATION_SECONDS: Final = "gen_ai.client.operation.duration"
FIRST_CHUNK_SECONDS: Final = "gen_ai.client.operation.time_to_first_chunk"
WORKFLOW_SECONDS: Final = "gen_ai.workflow.duration"
AGENT_SECONDS: Final = "gen_ai.invoke_agent.duration"
INFERENCE_CALLS: Final = "gen_ai.invoke_agent.inference_calls"
TOOL_CALLS: Final = "gen_ai.invoke_agent.tool_calls"
TOOL_SECONDS: Final = "gen_ai.execute_tool.duration"

SECONDS: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKENS: Final = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)
CALLS: Final = (1, 2, 4, 8, 16, 32, 64, 128)
"""Bounds of histograms, as the conventions say."""
