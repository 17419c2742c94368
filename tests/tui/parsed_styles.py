"""What Textual has parsed of a stylesheet for one console serves the next one, too.

It keeps that for each app, and a user has one; the tests open hundreds, and spent a seventh of their time on parsing.
"""

from __future__ import annotations

import json
from typing import Any

from textual.css.model import RuleSet
from textual.css.stylesheet import Stylesheet

_parsed: dict[tuple[str, tuple[Any, ...]], list[RuleSet]] = {}
"""By the variables that the stylesheet has, and what is parsed."""


def keep_parsed_styles() -> None:
    """From here on."""
    parse = Stylesheet._parse_rules

    def parse_once(stylesheet: Stylesheet, *what: Any, **more: Any) -> list[RuleSet]:
        key = (json.dumps(stylesheet._variables, sort_keys=True), (*what, *sorted(more.items())))
        if key not in _parsed:
            _parsed[key] = parse(stylesheet, *what, **more)
        return _parsed[key]

    Stylesheet._parse_rules = parse_once  # type: ignore[method-assign]
