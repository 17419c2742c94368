"""What may be done: the order of rules, who can narrow and who can widen, and what the answer says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.ports.model import ToolSpec
from fleetprompt.engine.ports.tool import Preview, ToolInfo
from fleetprompt.engine.tools._patterns import matches, read_where
from fleetprompt.engine.tools.policy import Asked, Decision, Grant, Policy, decide
from fleetprompt.engine.tools.policy_file import fleet_policy
from fleetprompt.engine.tools.policy_read import read_policy

NOW = Asked(now=100.0, run="r1", workflow="deploy")
MAKE = {"argv": ["make"]}
STRICT = {"allow": 0, "ask": 1, "deny": 2}


def info(name: str = "shell.run", **known: Any) -> ToolInfo:
    return ToolInfo(spec=ToolSpec(name, "", {}), **known)


def ran(*argv: str, **more: Any) -> Preview:
    subject = {"argv": list(argv)}
    return Preview(summary=" ".join(argv), subject=subject, covers=subject, **more)


def judged(policy: dict[str, Any], preview: Preview, name: str = "shell.run", **more: Any) -> Decision:
    asked = Asked(now=100.0, run="r1", workflow="deploy", tainted=more.pop("tainted", False))
    return decide([read_policy(policy, "policy.toml")], info(name), preview, asked, **more)


def test_the_order_of_verdicts() -> None:
    rules = {
        "allow": [{"tool": "shell.run", "where": {"argv": ["git", "log", "*"]}}],
        "ask": ["shell.*"],
        "deny": [{"tool": "shell.run", "where": {"argv": ["git", "push", "*"]}, "reason": "people make releases"}],
    }
    allowed = judged(rules, ran("git", "log", "-3"))
    assert (allowed.verdict, allowed.rule) == ("allow", "policy.toml: allow[1]")
    assert judged(rules, ran("git", "log")).verdict == "allow"
    asked = judged(rules, ran("make"))
    assert (asked.verdict, asked.rule) == ("ask", "policy.toml: ask[1]")
    denied = judged(rules, ran("git", "push", "--force"))
    assert (denied.verdict, denied.rule) == ("deny", "policy.toml: deny[1]")
    assert denied.reason == "people make releases"
    off = judged({**rules, "off": True}, ran("git", "log"))
    assert (off.verdict, off.rule) == ("deny", "policy.toml: off `*`")
    default = judged({}, Preview(summary="", risk="runs a program"))
    assert (default.verdict, default.rule, default.reason) == ("ask", "default of shell.run", "runs a program")


def test_a_call_that_its_tool_refuses_needs_a_rule_for_such_calls() -> None:
    risky = ran("bash", "-c", "x", verdict="deny", risk="`bash` runs what its arguments say")
    assert judged({"allow": ["*"]}, risky).verdict == "deny"
    assert judged({"allow": ["*"]}, risky).reason == "`bash` runs what its arguments say"
    assert judged({"ask": ["*"]}, risky).verdict == "deny"
    meant = {"tool": "shell.run", "where": {"argv": ["bash", "-c", "x"]}, "refused": True}
    assert judged({"allow": [meant]}, risky).verdict == "allow"
    assert judged({"ask": [meant]}, risky).verdict == "ask"
    grant = Grant(id="g", scope="run", of="r1", tool="shell.run", covers=risky.subject)
    assert judged({}, risky, grants=[grant]).verdict == "deny"
    with pytest.raises(InvalidInput, match="has to say which calls"):
        read_policy({"allow": [{"tool": "shell.run", "refused": True}]}, "policy.toml")


@pytest.mark.parametrize(
    "change",
    [{"uses_left": 0}, {"expires_at": 100.0}, {"of": "r2"}, {"tool": "fs.write"}, {"scope": "workflow", "of": "other"}],
)
def test_a_grant_is_for_what_it_says_only(change: dict[str, Any]) -> None:
    known: dict[str, Any] = {
        "id": "g1",
        "scope": "run",
        "of": "r1",
        "tool": "shell.run",
        "uses_left": 1,
        "covers": MAKE,
    }
    good = judged({}, ran("make"), grants=[Grant(**known)])
    assert (good.verdict, good.grant, good.rule) == ("allow", "g1", "grant g1 for this run")
    assert judged({}, ran("make"), grants=[Grant(**{**known, **change})]).verdict == "ask"


def test_a_grant_of_a_call_is_for_that_call() -> None:
    known = {"argv": ["rm", "*"], "cwd": ".", "force": True}
    grant = Grant(id="g", scope="workflow", of="deploy", tool="shell.run", covers=known)

    def verdict(**covers: Any) -> str:
        return judged({}, Preview(summary="", subject=known, covers=covers), grants=[grant]).verdict

    assert verdict(argv=["rm", "*"], cwd=".", force=True) == "allow"
    assert verdict(argv=["rm", "a", "b"], cwd=".", force=True) == "ask"
    assert verdict(argv=["rm", "*"], cwd="sub", force=True) == "ask"
    assert verdict(argv=["rm", "*"], cwd=".", force=1) == "ask"
    assert verdict(argv=["rm", "*"], cwd=".", force=True, more="") == "ask"
    assert judged({}, Preview(summary="", subject=known), grants=[grant]).verdict == "ask"


def test_a_grant_beats_an_ask_rule_and_not_a_deny_rule() -> None:
    grant = Grant(id="g", scope="run", of="r1", tool="shell.run", covers=MAKE)
    assert judged({"ask": ["*"]}, ran("make"), grants=[grant]).verdict == "allow"
    assert judged({"deny": ["shell.*"]}, ran("make"), grants=[grant]).verdict == "deny"
    assert judged({"off": ["shell.run"]}, ran("make"), grants=[grant]).verdict == "deny"


def test_taint_takes_grants_and_allow_rules_away_from_what_writes() -> None:
    policy = {"taint": "ask", "allow": ["*"]}
    grant = Grant(id="g", scope="run", of="r1", tool="shell.run", covers=MAKE)
    assert judged(policy, ran("make"), grants=[grant]).verdict == "allow"
    wary = judged(policy, ran("make"), grants=[grant], tainted=True)
    assert (wary.verdict, wary.rule) == ("ask", "policy.toml: taint")
    assert judged(policy, ran("x", reach="read"), tainted=True).verdict == "allow"
    assert judged({**policy, "deny": ["shell.*"]}, ran("x"), tainted=True).verdict == "deny"
    free = ran("x", verdict="allow")
    assert judged(policy, free, tainted=True).verdict == "ask"


def test_an_agent_narrows() -> None:
    fleet = read_policy({"allow": ["fs.*"]}, "policy.toml")
    agent = read_policy({"tools": ["fs.read", "git.*"], "ask": ["fs.read"], "allow": ["git.push"]}, "agents/sre.yaml")
    look = Preview(summary="")

    def verdict(name: str) -> tuple[str, str]:
        found = decide([fleet, agent], info(name), look, NOW)
        return found.verdict, found.rule

    assert verdict("fs.write") == ("deny", "agents/sre.yaml: tools")
    assert verdict("fs.read") == ("ask", "agents/sre.yaml: ask[1]")
    assert verdict("git.push") == ("ask", "default of git.push")
    assert decide([fleet], info("fs.write"), look, NOW).verdict == "allow"
    silent = read_policy({}, "agents/any.yaml")
    assert decide([fleet, silent], info("fs.write"), look, NOW).verdict == "allow"


@pytest.mark.parametrize(
    ("where", "subject", "narrow", "wide"),
    [
        ({"path": "out/**"}, {"path": "out/a/b.md"}, True, True),
        ({"path": "out/*"}, {"path": "out/a/b.md"}, False, False),
        ({"path": "out/**"}, {"path": "outside/a"}, False, False),
        ({"path": "**/*.md"}, {"path": "a.md"}, True, True),
        ({"path": "OUT/**"}, {"path": "out/a"}, False, True),
        ({"path": "out/**"}, {"url": "out/a"}, False, False),
        ({"argv": ["git", "log", "*"]}, {"argv": ["git", "log"]}, True, True),
        ({"argv": ["git", "log"]}, {"argv": ["git", "log", "-p"]}, False, True),
        ({"argv": ["git", "*", "x"]}, {"argv": ["git", "a", "b", "x"]}, False, False),
        ({"argv": ["rm", "*"]}, {"argv": ["RM", "-rf"]}, False, True),
        ({"argv": ["git"]}, {"argv": "git"}, False, False),
        ({"host": ["a.test", "*.b.test"]}, {"host": "x.b.test"}, True, True),
        ({"method": "GET", "port": 443}, {"method": "GET", "port": 443}, True, True),
        ({"port": 1}, {"port": True}, False, False),
        ({"paths": "src/*"}, {"paths": ["src/a", "etc"]}, False, True),
        ({"paths": "src/*"}, {"paths": []}, False, False),
        ({}, {}, True, True),
    ],
)
def test_patterns(where: dict[str, Any], subject: dict[str, Any], narrow: bool, wide: bool) -> None:
    read = read_where(where)
    assert matches(read, subject, narrow=True) is narrow
    assert matches(read, subject, narrow=False) is wide


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"alow": []}, "there is no `alow`"),
        ({"allow": "fs.read"}, "has to be a list of rules"),
        ({"allow": [5]}, "allow[1]: this is not a rule (write allow = ["),
        ({"allow": [{"where": {}}]}, "allow[1]: this rule does not say which tool it is about (write allow = ["),
        ({"deny": [{"tol": "fs.write"}]}, "deny[1]: there is no `tol` (did you mean `tool`?)"),
        ({"ask": [{"x": 1}, 5]}, "ask[1]: there is no `x` (a rule has tool, where, refused, reason)"),
        ({"ask": [{}]}, "ask[1]: this rule does not say which tool it is about (write ask = ["),
        ({"deny": "fs.write"}, "`deny` has to be a list of rules (write deny = ["),
        ({"allow": ["a", {"tool": "x", "path": "y"}]}, "allow[2]: there is no `path`"),
        ({"deny": [{"tool": "x", "where": {"argv": "git log"}}]}, "deny[1]: `argv` is a list"),
        ({"deny": [{"tool": "x", "where": {"path": {}}}]}, "deny[1]: the pattern of `path`"),
        ({"deny": [{"tool": 5}]}, "patterns of tool names"),
        ({"deny": [""]}, "a tool's name is empty"),
        ({"taint": "deny"}, "`taint` is off or ask"),
        ({"tools": "fs.*", "off": 3}, "patterns of tool names"),
    ],
)
def test_what_is_wrong_with_a_policy_is_told(values: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_policy(values, "policy.toml")
    assert said in f"{caught.value.message} ({caught.value.hint})"


names = st.sampled_from(["fs.read", "fs.write", "git.push", "shell.run"])
patterns = st.sampled_from(["*", "fs.*", "git.*", "shell.run", "fs.read"])
words = st.sampled_from(["git", "log", "rm", "-rf", "*"])
argvs = st.lists(words, min_size=1, max_size=3)
rules = st.one_of(
    patterns,
    st.fixed_dictionaries(
        {"tool": patterns, "where": st.fixed_dictionaries({"argv": argvs}), "refused": st.booleans()}
    ),
)
policies = st.fixed_dictionaries(
    {},
    optional={
        "allow": st.lists(rules, max_size=3),
        "ask": st.lists(rules, max_size=3),
        "deny": st.lists(rules, max_size=2),
        "off": st.lists(patterns, max_size=1),
        "tools": st.lists(patterns, max_size=2),
        "taint": st.sampled_from(["off", "ask"]),
    },
).map(lambda values: read_policy(values, "p"))
granting = st.builds(
    lambda name, argv: Grant(id="g", scope="run", of="r1", tool=name, covers={"argv": argv}), names, argvs
)
grants = st.lists(granting, max_size=2)
calls = st.builds(
    lambda name, argv, reach, own, own2: (info(name, reach=reach, verdict=own), ran(*argv, verdict=own2)),
    names,
    argvs,
    st.sampled_from(["read", "write"]),
    st.sampled_from(["allow", "ask", "deny"]),
    st.sampled_from([None, "allow", "ask", "deny"]),
)
moments = st.builds(Asked, now=st.just(100.0), run=st.just("r1"), workflow=st.just("w"), tainted=st.booleans())


@given(policies, calls, moments, grants)
def test_deny_always_wins(policy: Policy, call: tuple[ToolInfo, Preview], asked: Asked, granted: list[Grant]) -> None:
    known, preview = call
    denied = any(rule.verdict == "deny" and rule.covers(known.spec.name, preview) for rule in policy.rules)
    if denied:
        assert decide([policy], known, preview, asked, granted).verdict == "deny"


@given(policies, policies, calls, moments, grants)
def test_another_layer_never_widens(
    fleet: Policy, agent: Policy, call: tuple[ToolInfo, Preview], asked: Asked, granted: list[Grant]
) -> None:
    alone = decide([fleet], *call, asked, granted)
    both = decide([fleet, agent], *call, asked, granted)
    assert STRICT[both.verdict] >= STRICT[alone.verdict]


@given(policies, calls, moments, grants)
def test_what_the_tool_refuses_goes_through_by_a_rule_for_it_alone(
    policy: Policy, call: tuple[ToolInfo, Preview], asked: Asked, granted: list[Grant]
) -> None:
    known, preview = call
    if preview.verdict != "deny":
        return
    if not any(rule.refused and rule.covers(known.spec.name, preview) for rule in policy.rules):
        assert decide([policy], known, preview, asked, granted).verdict == "deny"


@given(policies, calls, grants)
def test_with_taint_nothing_that_writes_is_let_through(
    policy: Policy, call: tuple[ToolInfo, Preview], granted: list[Grant]
) -> None:
    known, preview = call
    if policy.taint == "ask" and known.reach == "write":
        tainted = Asked(now=100.0, run="r1", tainted=True)
        assert decide([policy], known, preview, tainted, granted).verdict != "allow"


@given(policies, calls, moments, grants)
def test_the_answer_names_its_rule(
    policy: Policy, call: tuple[ToolInfo, Preview], asked: Asked, granted: list[Grant]
) -> None:
    found = decide([policy], *call, asked, granted)
    assert found.rule
    assert bool(found.grant) == found.rule.startswith("grant ")


def test_the_fleet_has_one_policy_of_two_places(tmp_path: Path) -> None:
    table = {"ask": ["fs.write"], "off": ["git.push"]}
    assert fleet_policy(tmp_path, {}) == Policy()
    (tmp_path / "policy.toml").write_text('taint = "ask"\nallow = ["fs.*"]\ndeny = [{tool = "sql.*", reason = "no"}]\n')
    policy = fleet_policy(tmp_path, table)
    assert policy.taint == "ask"

    def rule(name: str) -> str:
        return decide([policy], info(name), Preview(summary=""), NOW).rule

    assert rule("fs.write") == "policy.toml: allow[1]"
    assert rule("sql.query") == "policy.toml: deny[1]"
    assert rule("git.push") == "policy: off `git.push`"
    for text, said in [
        ("deny = []\nallow = [\n", "policy.toml:2:9: this is not a value"),
        ('off = true\n alow = ["x"]', "policy.toml:2:2: there is no `alow` did you mean `allow`?"),
        ('deny = []\nallow = ["a", {tool = 5}]', "policy.toml:2:16: allow[2]: patterns"),
        ('tools = ["fs.*"]', "keep"),
    ]:
        (tmp_path / "policy.toml").write_text(text)
        with pytest.raises(InvalidInput) as caught:
            fleet_policy(tmp_path, {"tools": ["fs.*"]})
        assert said in f"{caught.value.message} {caught.value.hint}"
    (tmp_path / "policy.toml").unlink()
    (tmp_path / "fleet.toml").write_text('# ours\n[policy]\nask = ["a",\n  {tool = "b", wher = {}}]\noff = ["", "c"]\n')
    with pytest.raises(InvalidInput) as caught:
        fleet_policy(tmp_path, {"ask": ["a", {"tool": "b", "wher": {}}], "off": ["", "c"]})
    assert caught.value.message == "fleet.toml:4:16: ask[2]: there is no `wher` (and 1 more)"
    assert caught.value.hint == "did you mean `where`?"
    (tmp_path / "policy.toml").mkdir()
    with pytest.raises(InvalidInput, match="cannot be read"):
        fleet_policy(tmp_path, {})
