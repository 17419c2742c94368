"""What is offered while a filter is typed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetprompt.engine.core.query_complete import MAX_COMPLETIONS, complete
from fleetprompt.engine.core.query_fields import APPROVAL_FIELDS, RUN_FIELDS, SIGNAL_FIELDS, WORKFLOW_FIELDS, FieldSet

FIELDS = st.sampled_from([RUN_FIELDS, APPROVAL_FIELDS, SIGNAL_FIELDS, WORKFLOW_FIELDS])

COMPLETIONS = [
    ("sta|", ["status:", "started>"]),
    ("-sta|", ["-status:", "-started>"]),
    ("wf:x co|", ["wf:x cost>"]),
    ("OWN|", ["by:"]),
    ("st|a:failed", ["status:failed", "step:failed", "started:failed"]),
    ("status:f|", ["status:failed"]),
    ("status:failed,w|", ["status:failed,waiting"]),
    ("status:failed,completed,c|", ["status:failed,completed,cancelled"]),
    ("status!=run| wf:x", ["status!=running wf:x"]),
    ("status:ru|xx,failed", ["status:running,failed"]),
    ("status:out|", ["status:timeout"]),
    ("wf:de|", ["wf:deploy", 'wf:"de luxe"', "wf:my-deploy"]),
    ('wf:"de l|', ['wf:"de luxe"']),
    ("label.|", ["label.env:", "label.team:"]),
    ("label.te|", ["label.team:"]),
    ("label.env:p|", ["label.env:prod"]),
    ("lab|", ["label."]),
    ("started>to|", ["started>today"]),
    ("cost>|", ["cost>0.1", "cost>0.5", "cost>1"]),
    ("nosuch:|", []),
    ("label:|", []),
    ("/reg|", []),
    ("/reg wf|", []),
    ("/reg/|", []),
    ('"quo|', []),
    ("zz|", []),
]


LIVE: dict[str, list[str | tuple[str, int]]] = {
    "wf": ["my-deploy", ("deploy", 12), "de luxe"],
    "label": ["env", "team", "not a key"],
    "label.env": ["prod", "staging"],
}


@pytest.mark.parametrize(("text", "expected"), COMPLETIONS)
def test_completions(text: str, expected: list[str]) -> None:
    """Each completion is shown as the whole text that it leads to; `|` is the cursor."""
    cursor = text.index("|")
    text = text.replace("|", "")
    found = complete(text, cursor, RUN_FIELDS, lambda name: LIVE.get(name, []))
    assert [text[: c.start] + c.text + text[c.end :] for c in found] == expected


def test_completions_say_what_they_are_and_are_bounded() -> None:
    (only,) = complete("wf:d", 4, RUN_FIELDS, lambda _: [("deploy", 12)])
    assert (only.start, only.end, only.text, only.doc) == (3, 4, "deploy", "12")
    counted = complete("status:", 7, RUN_FIELDS, lambda _: [("failed", 3), ("running", 1)])
    assert [(each.text, each.doc) for each in counted if each.doc] == [("running", "1"), ("failed", "3")]
    assert [each.text for each in counted] == [*RUN_FIELDS.find("status").values]  # type: ignore[union-attr]
    assert complete("cos", 3, RUN_FIELDS, lambda _: [])[0].doc.startswith("money spent")
    assert len(complete("", 0, RUN_FIELDS, lambda _: [])) == len(RUN_FIELDS.fields)
    assert len(complete("wf:", 3, RUN_FIELDS, lambda _: map(str, range(1000)))) == MAX_COMPLETIONS


@settings(deadline=None)
@given(st.text(alphabet='wf:status,cost>.-!"/ *x\\', max_size=30), st.integers(0, 30), FIELDS)
def test_completions_fit_the_text(text: str, cursor: int, fields: FieldSet) -> None:
    cursor = min(cursor, len(text))
    for found in complete(text, cursor, fields, lambda _: ["x", "two words"]):
        assert 0 <= found.start <= cursor <= found.end <= len(text)
