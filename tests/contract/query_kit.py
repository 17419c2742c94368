"""Random filters, and values that are hard to compare, for comparing stores with each other."""

from __future__ import annotations

from hypothesis import strategies as st

from fleetprompt.engine.core.query_fields import ORDERED, Field, FieldSet
from fleetprompt.engine.core.query_values import write_text

TEXTS = ("a", "A", "ab", "aB%", "a_b", "a\\b", "É", "é", "ß", "SS", "İ", 'q"q', "x y", "line\nbreak", "prod", "Prod-1")
REGEXES = ("a", "^a", "b$", "A.B", "[ab]%", "é", "x\\sy", "p(ro|x)d", "\\d", "^$")


def texts() -> st.SearchStrategy[str]:
    """A text, half of the time with wildcards."""
    parts = st.lists(st.sampled_from(("", *TEXTS, "b", "ro", "%", "_")), min_size=1, max_size=3)
    return parts.filter(any).map(lambda found: write_text(tuple(found), contains=False)) | st.just("*")


def _values(field: Field) -> st.SearchStrategy[str]:
    match field.kind:
        case "enum":
            return st.sampled_from(field.values) | st.sampled_from([value[:2] + "*" for value in field.values])
        case "text" | "label":
            return texts()
        case "number":
            return st.sampled_from(("0", "1", "2", "2.5", "10k"))
        case "money":
            return st.sampled_from(("0", "0.5", "$1", "0.000000001"))
        case "duration" | "age":
            return st.sampled_from(("0", "1s", "10s", "1m", "1h30m"))
        case _:
            return st.sampled_from(("today", "yesterday", "10s", "1h", "2027-01", "2027-01-15", "now", "08:00"))


@st.composite
def _terms(draw: st.DrawFn, fields: FieldSet) -> str:
    sign = draw(st.sampled_from(("", "", "-")))
    kind = draw(st.integers(0, 9))
    if kind == 0:
        return f"{sign}/{draw(st.sampled_from(REGEXES))}/"
    if kind == 1:
        return sign + draw(texts())
    field = draw(st.sampled_from(fields.fields))
    name = f"{field.name}.{draw(st.sampled_from(('env', 'a.b', 'none')))}" if field.kind == "label" else field.name
    ordered = field.kind in ORDERED and (field.kind in ("duration", "age") or draw(st.booleans()))
    if ordered or field.kind == "since":
        op = draw(st.sampled_from((">", ">=", "<", "<="))) if ordered else ":"
        return f"{sign}{name}{op}{draw(_values(field))}"
    values = draw(st.lists(_values(field), min_size=1, max_size=3))
    return f"{sign}{name}{draw(st.sampled_from((':', '!=')))}{','.join(values)}"


def queries(fields: FieldSet) -> st.SearchStrategy[str]:
    """A filter over these fields; not every one can be understood."""
    return st.lists(_terms(fields), min_size=1, max_size=3).map(" ".join)
