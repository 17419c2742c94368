"""The steps of a file as they stand in it: which block, in what order, after whom.

Read from the data and not from the models, so that one broken step does not hide what is wrong with the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from msgspec import Struct

from fleetprompt.engine.core.plan import Need
from fleetprompt.engine.definition.problems import Pointer
from fleetprompt.engine.definition.roles import roles
from fleetprompt.engine.definition.step import StepModel, known_type


def mapping(value: Any) -> dict[str, Any]:
    """The value if it is a mapping, else an empty one."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def sequence(value: Any) -> list[Any]:
    """The value if it is a list, else an empty one."""
    return cast("list[Any]", value) if isinstance(value, list) else []


class Site:
    """A step where it stands."""

    __slots__ = ("after", "block", "blocks", "id", "index", "model", "needs", "pointer", "raw", "type")

    def __init__(self, raw: dict[str, Any], pointer: Pointer, block: Section, model: StepModel | None) -> None:
        self.raw = raw
        self.pointer = pointer
        self.block = block
        self.index = len(block.sites)
        self.model = model
        """None when the step is not valid."""
        self.type = known_type(raw.get("type"))
        self.id: str = raw["id"] if isinstance(raw.get("id"), str) else ""
        self.needs: list[tuple[Pointer, Need]] | None = _needs(raw, pointer)
        """Each need with its place; None: a barrier behind everything listed before."""
        self.blocks: list[Section] = []

    @property
    def depth(self) -> int:
        owner = self.block.owner
        return 1 + (owner.depth if owner else 0)

    @property
    def ports(self) -> tuple[str, ...] | None:
        """Ports besides the common ones; None when that cannot be told."""
        gate = ("rejected",) if self.raw.get("approval") else ()
        return None if self.model is None else self.model.port_names() + gate

    def enclosing(self) -> Iterator[Site]:
        """This step, and the composites it is in, from the inside out."""
        site: Site | None = self
        while site is not None:
            yield site
            site = site.block.owner


class Piece(Struct, frozen=True):
    """A step, or one without a place in the order: what undoes a step, or finds out what became of it."""

    pointer: Pointer
    raw: dict[str, Any]
    type: type[StepModel] | None


class Section:
    """A block: steps in their order."""

    __slots__ = ("graph", "ids", "owner", "pointer", "sites")

    def __init__(self, pointer: Pointer, owner: Site | None) -> None:
        self.pointer = pointer
        self.owner = owner
        self.sites: list[Site] = []
        self.ids: dict[str, Site] = {}
        self.graph: Any = None
        """The `order.Graph` of this block, made on first use."""


class Outline:
    """Every step of a file."""

    def __init__(self, data: Any, models: dict[int, StepModel]) -> None:
        self.data = mapping(data)
        self._models = models
        self.sites: list[Site] = []
        """In the order of the file."""
        self.sections: list[Section] = []
        self.ids: dict[str, Site] = {}
        self.root = self._section(self.data.get("steps"), ("steps",), None)

    def pieces(self) -> Iterator[Piece]:
        """Every step, and the bodies that belong to it."""
        for site in self.sites:
            yield Piece(site.pointer, site.raw, site.type)
            for key in ("compensate", "reconcile"):
                if body := mapping(site.raw.get(key)):
                    yield Piece((*site.pointer, key), body, known_type(body.get("type")))

    def names(self, key: str) -> list[str]:
        """The keys of a mapping of the file's head, such as `inputs`."""
        return list(mapping(self.data.get(key)))

    def _section(self, steps: Any, pointer: Pointer, owner: Site | None) -> Section:
        section = Section(pointer, owner)
        self.sections.append(section)
        for index, raw in enumerate(sequence(steps)):
            if not isinstance(raw, dict):
                continue
            body = cast("dict[str, Any]", raw)
            site = Site(body, (*pointer, index), section, self._models.get(id(body)))
            section.sites.append(site)
            section.ids.setdefault(site.id, site)
            self.sites.append(site)
            self.ids.setdefault(site.id, site)
            self._inside(site)
        return section

    def _inside(self, site: Site) -> None:
        known = roles(site.type) if site.type else {}
        for key, value in site.raw.items():
            if (key in known and known[key].what == "steps") or (site.type is None and _looks_like_steps(value)):
                self._blocks(value, (*site.pointer, key), site)

    def _blocks(self, value: Any, pointer: Pointer, site: Site) -> None:
        """A list of steps, a list of cases, or a mapping of either."""
        for key, part in mapping(value).items():
            self._blocks(part, (*pointer, key), site)
        if _looks_like_cases(sequence(value)):
            for index, case in enumerate(sequence(value)):
                if "steps" in mapping(case):
                    self._blocks(case["steps"], (*pointer, index, "steps"), site)
        elif isinstance(value, list):
            site.blocks.append(self._section(value, pointer, site))


def _looks_like_steps(value: Any) -> bool:
    return any("type" in mapping(item) and "id" in mapping(item) for item in sequence(value))


def _looks_like_cases(items: list[Any]) -> bool:
    return any("steps" in mapping(item) and "type" not in mapping(item) for item in items)


def _needs(raw: dict[str, Any], pointer: Pointer) -> list[tuple[Pointer, Need]] | None:
    written = raw.get("needs")
    if written is None:
        return None
    if isinstance(written, str):
        return [((*pointer, "needs"), parse_need(written))]
    return [
        ((*pointer, "needs", index), parse_need(item))
        for index, item in enumerate(sequence(written))
        if isinstance(item, str)
    ]  # fmt: skip


def parse_need(text: str) -> Need:
    """The need in a text: `gate` or `gate.approved`."""
    step, _, port = text.partition(".")
    return Need(step, port)
