"""What the YAML parser says about a file that is not YAML, in words that say what to do."""

from __future__ import annotations

import re

from fleetprompt.engine.definition.problems import EXCERPT

_SYNTAX = (
    ("quoted scalar: found unexpected", "this quote is never closed", ""),
    ("tab character", "a tab cannot indent YAML", "use spaces"),
    ("mapping values", "a `: ` cannot stand here", "quote the value if it contains `: `, or check the indentation"),
    ("start any token", "an unquoted value cannot start like this", "quote the value"),
    ("mapping keys", "an unquoted `?` starts a YAML key", "quote the value"),
    ("document start", "nothing can follow the value that ends before here", "check the quotes and the indentation"),
    ("directive", "a line that starts with `%` is a YAML directive", "quote the value"),
    ("node content", "a value cannot start like this", "quote the value if it is text"),
    ("flow sequence", "the list is not closed before here", "separate items with `,` and end the list with `]`"),
    ("flow mapping", "the mapping is not closed before here", "separate entries with `,` and end it with `}`"),
    ("expected ':'", "this line is not `key: value`", "check the indentation and the `: ` after the key"),
    ("block collection", "a list item (`- `) is expected here", "check the indentation"),
    (
        "block mapping",
        "a key is expected here",
        "check the indentation; a value that begins with a quote must end with it",
    ),
    ("an alias", "an unquoted `*` starts a YAML alias", "quote the value"),
    ("an anchor", "an unquoted `&` starts a YAML anchor", "quote the value"),
    (
        "unknown escape",
        "this escape does not exist",
        "in double quotes write `\\\\` for a backslash, or use single quotes",
    ),
    ("tag", "an unquoted `!` starts a YAML tag", "quote the value"),
    ("sequence entries", "a list cannot start on this line", "put each `- ` on its own line"),
    ("block scalar", "nothing can follow `|` or `>` on its line", "start the text on the next line"),
)


def explain_syntax(words: str, text: str, index: int) -> tuple[str, str]:
    """Message and hint for what the YAML parser says in its `words` about `text[index]`."""
    line = text[max(text.rfind("\n", 0, index) + 1, index - EXCERPT) : index]
    if text.startswith("{{", index) and line.endswith("$"):
        return "an expression inside `[…]` or `{…}` needs quotes", 'write "${{ … }}"'
    if "block mapping" in words and re.search(r"(?<!\$)\{\{", line):
        return "text cannot follow `{{ … }}` here", 'quote the whole value and write the expression as "${{ … }}"'
    if text.startswith("\t", index) and not line.strip():
        words = "tab character"
    for fragment, message, hint in _SYNTAX:
        if fragment in words:
            return message, hint
    return words.strip(": "), ""
