"""The inbox as plain state, over a real store: what is listed, how it follows, and what is shown of an approval."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import msgspec
from rich.cells import cell_len
from tui_kit import NOW, begun, put, reading

from fleetprompt.client.deciding import why_decided
from fleetprompt.client.reading import Reading
from fleetprompt.client.values import is_diff
from fleetprompt.client.wording import Times
from fleetprompt.engine.core.facts import AnyFact, ApprovalDecided, ApprovalRequested, ApprovalVoted, Blob
from fleetprompt.engine.core.signal import VOTE, Signal
from fleetprompt.engine.ports import Append, Approval, Change, Vote
from fleetprompt.tui.state.approval_preview import matter, preview
from fleetprompt.tui.state.approvals import KINDS, PAGE, Inbox
from fleetprompt.tui.state.lines import Exact, Part, layout
from fleetprompt.tui.state.look import Look, Standing, look_at, standing
from fleetprompt.tui.state.steady import Steady
from fleetprompt.tui.widgets.text_pane import wrapped, wrapped_lines


def asked(number: int, n: int = 2, **fields: Any) -> Append:
    """Run `number` asks. It begins at `NOW + number`."""
    values: dict[str, Any] = {"path": "gate", "id": f"ap-{number:06}", "digest": "d" * 64, "message": f"Do {number}?"}
    return moves(number, n, ApprovalRequested(**(values | {"at": NOW + number} | fields)))


def moves(number: int, n: int, *facts: AnyFact) -> Append:
    head = begun(number).head
    return Append(run=head.id, tenant="default", after=n - 1, facts=facts, head=_at(head, n + len(facts) - 1))


def _at(head: Any, n: int) -> Any:
    return msgspec.structs.replace(head, n=n)


def decided(number: int, n: int = 3, decision: Any = "approved") -> Append:
    fact = ApprovalDecided(path="gate", id=f"ap-{number:06}", decision=decision, at=NOW + 50, reason="vote")
    return moves(number, n, fact)


def change(*numbers: int) -> Change:
    return Change(runs=frozenset(f"run-{number:06}" for number in numbers), kinds=KINDS)


async def asks(client: Reading, *numbers: int, **fields: Any) -> None:
    for number in numbers:
        await put(client, begun(number), asked(number, **fields))


def ids(inbox: Inbox) -> list[int]:
    return [int(str(inbox.key(at))[-6:]) for at in range(inbox.count)]


async def loaded(client: Reading, filter_: str = "", **fields: Any) -> Inbox:
    inbox = Inbox(client, lambda: NOW + 100, **fields)  # type: ignore[arg-type]
    inbox.filter = filter_
    await inbox.load()
    return inbox


async def test_what_waits_is_listed_with_the_oldest_first(tmp_path: Path) -> None:
    async with reading(tmp_path) as client:
        await asks(client, 3, 1, 2)
        await put(client, decided(2))
        inbox = await loaded(client)
        assert (ids(inbox), inbox.waiting, inbox.oldest_first) == ([1, 3], 2, True)
        past = await loaded(client, "status:approved,pending")
        assert (ids(past), past.waiting, past.oldest_first) == ([3, 2, 1], 2, False)
        assert ids(await loaded(client, "run:run-000003")) == [3]


async def test_it_follows_what_comes_is_decided_and_escalated(tmp_path: Path) -> None:
    async with reading(tmp_path) as client:
        await asks(client, 2, 4)
        inbox = await loaded(client)
        await asks(client, 3)
        assert await inbox.apply(change(3))
        assert ids(inbox) == [2, 3, 4]
        await put(client, decided(2), asked(4, 3, level=1, message="Really?"))
        assert not await inbox.apply(Change(runs=frozenset(["run-000002"]), kinds=frozenset(["StepStarted"])))
        assert await inbox.apply(change(2, 4))
        assert ids(inbox) == [3, 4]
        four = inbox.approval("ap-000004")
        assert four is not None
        assert (four.level, four.message) == (1, "Really?")
        assert not await inbox.apply(change(9))


async def test_a_lost_change_and_one_of_many_runs_read_it_again(tmp_path: Path) -> None:
    async with reading(tmp_path) as client:
        await asks(client, *range(60))
        inbox = await loaded(client)
        await put(client, *(decided(number) for number in range(55)))
        assert await inbox.apply(change(*range(55)))
        assert ids(inbox) == [55, 56, 57, 58, 59]
        await put(client, decided(55))
        assert await inbox.apply(Change(lost=True))
        assert ids(inbox) == [56, 57, 58, 59]


async def test_what_the_cursor_is_on_stays_until_it_leaves(tmp_path: Path) -> None:
    async with reading(tmp_path) as client:
        await asks(client, 1, 2, 3)
        inbox = await loaded(client)
        inbox.keep("ap-000002")
        await put(client, decided(2), decided(3))
        assert await inbox.apply(change(2, 3))
        assert (ids(inbox), inbox.waiting) == ([1, 2], 1)
        two = inbox.approval("ap-000002")
        assert two is not None
        assert two.status == "approved"
        await inbox.load()
        assert ids(inbox) == [1, 2], "also when all is read again"
        assert inbox.keep("ap-000001")
        assert ids(inbox) == [1]
        assert not inbox.keep("ap-000001")


async def test_a_long_list_is_read_by_the_page(tmp_path: Path) -> None:
    async with reading(tmp_path) as client:
        await put(client, *(entry for number in range(PAGE + 70) for entry in (begun(number), asked(number))))
        inbox = await loaded(client)
        assert (inbox.count, inbox.more) == (PAGE, True)
        inbox.show(0, 20)
        assert not inbox.missing()
        inbox.show(PAGE - 20, PAGE)
        assert inbox.missing()
        assert await inbox.fetch()
        assert (inbox.count, inbox.more, ids(inbox)) == (PAGE + 70, False, list(range(PAGE + 70)))
        await put(client, decided(0))
        await inbox.apply(Change(lost=True))
        assert inbox.count == PAGE + 69, "as far as it was read before"


async def test_a_new_one_behind_the_pages_that_were_read_waits_for_its_page(tmp_path: Path) -> None:
    async with reading(tmp_path) as client:
        await put(client, *(entry for number in range(PAGE + 5) for entry in (begun(number), asked(number))))
        inbox = await loaded(client)
        await asks(client, PAGE + 50)
        await inbox.apply(change(PAGE + 50))
        assert inbox.count == PAGE
        inbox.show(PAGE - 20, PAGE)
        await inbox.fetch()
        assert ids(inbox) == [*range(PAGE + 5), PAGE + 50]


async def test_votes_of_a_quorum_are_read_where_they_are_looked_at(tmp_path: Path) -> None:
    async with reading(tmp_path) as client:
        await asks(client, 1, approvers=("ana", "bo"), quorum=2)
        await asks(client, 2)
        inbox = await loaded(client, who="ana")
        inbox.show(0, 2)
        assert inbox.missing()
        await inbox.fetch()
        assert not inbox.missing()
        assert _text(inbox, 0).startswith("◆")
        vote = ApprovalVoted(path="gate", id="ap-000001", by="ana", decision="approved", at=NOW + 60)
        await put(client, moves(1, 3, vote))
        await inbox.apply(change(1))
        await inbox.fetch()
        one = inbox.approval("ap-000001")
        assert one is not None
        state = inbox.standing(one)
        assert (state.words, state.voted, state.may) == ("1 of 2: ana approved", "approved", False)
        assert "1/2" in _text(inbox, 0)


def _text(inbox: Inbox, at: int) -> str:
    return " ".join(str(cell[0]) for cell in inbox.cells(at) or ())


async def test_time_that_is_left_is_shown_and_presses_towards_the_end(tmp_path: Path) -> None:
    async with reading(tmp_path) as client:
        for number, until in ((1, None), (2, NOW + 100 + 7200), (3, NOW + 100 + 200), (4, NOW + 130), (5, NOW + 90)):
            await asks(client, number, until=until)
        inbox = await loaded(client)
        assert [(inbox.cells(at) or ())[2] for at in range(5)] == [
            ("", "dim"),
            ("2h", ""),
            ("3m", "warning"),
            ("30s", "error"),
            ("due", "error"),
        ]


async def test_only_lines_whose_times_went_on_are_drawn_again(tmp_path: Path) -> None:
    async with reading(tmp_path) as client:
        await asks(client, 1, 70)
        at = [NOW + 100]
        inbox = Inbox(client, lambda: at[0])  # type: ignore[arg-type]
        await inbox.load()
        assert inbox.moved_on(0, 2) == [0, 1]
        assert inbox.moved_on(0, 2) == []
        at[0] += 1
        assert inbox.moved_on(0, 2) == [1], "one was asked minutes ago, the other seconds"


def test_long_lines_go_on_below_and_nothing_is_left_out() -> None:
    line = (("a" * 25, "x"), ("日本語" * 3, "y"), ("e\u0301" * 12, "z"))
    rows = list(wrapped(line, 10))
    assert [goes_on for goes_on, _ in rows] == [False] + [True] * (len(rows) - 1)
    assert "".join(text for _, parts in rows for text, _ in parts) == "".join(text for text, _ in line)
    assert all(sum(cell_len(text) for text, _ in parts) <= 10 for _, parts in rows)
    assert list(wrapped((), 10)) == [(False, ())]


def test_words_stay_whole_where_they_can_but_code_is_cut_where_the_row_ends() -> None:
    def rows(line: Sequence[Part], width: int) -> list[str]:
        return ["".join(text for text, _ in parts) for _, parts in wrapped(line, width)]

    prose: list[Part] = [("restart the ", ""), ("checkout service", "strong"), (" now", "")]
    assert rows(prose, 12) == ["restart the ", "checkout ", "service now"]
    assert rows(Exact(prose), 12) == ["restart the ", "checkout ser", "vice now"]
    assert rows([("a", ""), (" " + "b" * 20, "")], 10) == ["a bbbbbbbb", "bbbbbbbbbb", "bb"], (
        "no row is left half empty"
    )
    assert rows([("日本 語日本語", "")], 9) == ["日本 語日", "本語"]


def test_the_words_of_values_stay_whole_however_long_the_line_is() -> None:
    words = " ".join(f"word{number:04}" for number in range(300))
    about = {"plan": words, "argv": ["kubectl", *words.split()], "list": [words, {"deep": words}]}
    rows = wrapped_lines(matter(Look(approval(show=about))), 50)
    told = ["".join(text for text, _ in parts) for _, parts in rows]
    assert all(cell_len(row) <= 50 for row in told)
    assert sum(len(re.findall(r"\bword\d{4}\b", row)) for row in told) == 4 * 300
    assert "".join(told).count(words) == 4, "nothing is left out"


async def test_a_column_in_which_nothing_is_said_leaves_its_room_to_the_message(tmp_path: Path) -> None:
    def titles(inbox: Inbox) -> list[str]:
        return [inbox.columns[place.column].title for place in layout(inbox.columns, 69)]

    async with reading(tmp_path) as client:
        await asks(client, 1)
        voting: set[tuple[str, int]] = set()
        inbox = await loaded(client, voting=voting)
        assert titles(inbox) == ["", "ASKED", "WORKFLOW", "RUN", "STEP", "MESSAGE"]
        assert layout(inbox.columns, 69)[-1].width > inbox.columns[-1].width
        voting.add(("ap-000001", 0))
        cells = inbox.cells(0)
        assert cells is not None
        assert len(cells) == len(inbox.columns)
        assert "deciding…" in str(cells[-1])
        await asks(client, 2, until=NOW + 190, quorum=2)
        await inbox.load()
        assert "LEFT" in titles(inbox)
        assert "VOTES" in [column.title for column in inbox.columns]
        cells = inbox.cells(0)
        assert cells is not None
        assert "deciding…" in str(cells[2])
        assert "deciding…" not in str(cells[-1])


def test_who_may_decide() -> None:
    def may(*approvers: str, groups: tuple[str, ...] | None = None, votes: tuple[Vote, ...] = ()) -> Standing:
        return standing(approval(approvers=approvers), votes, "ana", groups)

    assert may().may
    assert may("user:ana").may
    assert not may("user:bo").may
    assert may("group:oncall", groups=("oncall",)).may
    assert not may("group:oncall", groups=("other",)).may
    assert may("group:oncall").may, "nothing is known of groups: the engine will tell"
    assert not may("group:oncall", groups=()).may, "they are known to be in none"
    mine = Vote(approval="ap-1", by="ana", decision="approved", at=NOW)
    assert (may(votes=(mine,)).may, may(votes=(mine,)).voted) == (False, "approved")
    assert not may(votes=(mine,)).corrects, "it is decided by that"
    assert standing(approval(quorum=2), (mine,), "ana", ()).corrects
    assert not standing(approval(quorum=2), (mine,), "bo", ()).corrects
    against = Vote(approval="ap-1", by="bo", decision="rejected", at=NOW)
    assert not standing(approval(quorum=3), (mine, against), "ana", ()).corrects
    assert not standing(approval(quorum=2, status="withdrawn"), (mine,), "ana", ()).corrects
    earlier = standing(approval(level=1), (mine,), "ana", ())
    assert (earlier.may, earlier.agreed) == (True, ())


def test_what_is_decided_by_votes_is_decided_before_an_engine_says_so() -> None:
    def cast(decision: Literal["approved", "rejected"], level: int = 0) -> Vote:
        return Vote(approval="ap-1", by="bo", decision=decision, at=NOW, level=level)

    assert "already approved" in why_decided(approval(), (cast("approved"),), "ana")
    assert not why_decided(approval(quorum=2), (cast("approved"),), "ana")
    assert "already rejected" in why_decided(approval(quorum=2), (cast("rejected"),), "ana")
    assert "bo has decided already: approved" in why_decided(approval(quorum=2), (cast("approved"),), "bo")
    assert not why_decided(approval(level=1), (cast("rejected"),), "bo")
    assert "already withdrawn" in why_decided(approval(status="withdrawn"), (), "ana")


def test_only_what_has_come_by_itself_has_to_settle() -> None:
    steady = Steady()
    steady.show(b"a", 10, by_hand=False)
    assert not steady.settled(10.29, 0.3)
    assert steady.settled(10.3, 0.3)
    steady.show(b"b", 11, by_hand=True)
    assert steady.settled(11, 0.3)
    steady.show(b"b", 12, by_hand=False)
    assert steady.settled(12, 0.3), "nothing is different"
    steady.show(b"c", 13, by_hand=False)
    assert not steady.settled(13.1, 0.3)


# ---------------------------------------------------------------- the preview


def approval(**fields: Any) -> Approval:
    values: dict[str, Any] = {
        "id": "ap-1",
        "tenant": "default",
        "run": "run-12345678",
        "path": "gate",
        "workflow": "audit",
        "status": "pending",
        "digest": "0123456789abcdef" * 4,
        "message": "Do it?",
        "requested_at": NOW - 60,
    }
    return Approval(**(values | fields))


def lines(votes: tuple[Vote, ...] = (), missing: bool = False, **fields: Any) -> list[tuple[tuple[str, str], ...]]:
    it = approval(**fields)
    look = Look(it, votes, it.input, missing)
    return [*chain.from_iterable(preview(look, standing(it, votes, "ana", ()), Times(), NOW))]


def text(votes: tuple[Vote, ...] = (), **fields: Any) -> str:
    return "\n".join("".join(part for part, _ in line) for line in lines(votes, **fields))


def styles(words: str, **fields: Any) -> set[str]:
    return {style for line in lines(**fields) for part, style in line if words in part}


def test_it_shows_what_was_asked_when_for_whom_and_until_when() -> None:
    said = text(until=NOW + 600, on_timeout="approve", approvers=("user:ana", "group:oncall"), quorum=2)
    for words in ("Do it?", "audit", "gate", "12345678", "0123456789ab", "1m ago", "10m left", "it counts as approved"):
        assert words in said
    assert "user:ana, group:oncall   0 of 2" in said
    assert "0123456789abc" not in said
    assert "never" in text()
    assert "the next ones are asked" in text(until=NOW + 5, on_timeout="escalate")
    assert "you are not among those" in text(approvers=("user:bo",))


def test_a_gated_step_is_shown_as_what_will_be_executed() -> None:
    executed = {"argv": ["git", "push", "--force", "it's"], "env": {"A": "1"}, "timeout": 3}
    said = text(show={"type": "shell", **executed}, input=executed)
    assert "WILL BE EXECUTED  shell" in said
    assert """argv: $ git push --force 'it'"'"'s'""" in said
    assert said.count("argv") == 1, "it is the same, and shown once"
    assert 'env: {"A": "1"}' in said
    assert styles("git push", show={"type": "shell", **executed}, input=executed) == {"code"}


def test_what_is_shown_and_what_is_executed_are_both_there_where_they_differ() -> None:
    said = text(show="All is well", input={"argv": ["rm", "-rf", "/"]})
    assert said.index("SHOWN") < said.index("All is well") < said.index("WILL BE EXECUTED") < said.index("$ rm -rf /")
    liar = text(show={"type": "shell", "argv": ["true"]}, input={"argv": ["rm", "-rf", "/"]})
    assert "$ true" in liar
    assert "$ rm -rf /" in liar


def test_what_is_shown_stands_in_the_order_of_its_author() -> None:
    said = text(show={"request": "POST /restart", "why": "it\nhangs", "body": {"z": 1, "a": 2}, "about": "x"})
    places = [said.index(each) for each in ("request", "why", "body", '"z"', '"a"', "about")]
    assert places == sorted(places)


def test_secrets_are_shown_by_name_where_they_will_be_put() -> None:
    executed = {"headers": {"auth": "", "x/y": ""}, "list": [""]}
    secrets = {
        "/headers/auth": ["Bearer ", {"secret": "TOKEN"}],
        "/headers/x~1y": [{"secret": "KEY"}],
        "/list/0": [{"secret": "ITEM"}],
    }
    said = text(show={"type": "http", **executed}, input=executed, secrets=secrets)
    for words in ("auth: Bearer ${{ secrets.TOKEN }}", "x/y: ${{ secrets.KEY }}", '["${{ secrets.ITEM }}"]'):
        assert words in said


def test_code_and_diffs_stand_line_by_line_as_they_are() -> None:
    patch = "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-old\n+new\n same"
    shown = {"patch": patch, "script": "set -e\n\trm x\n", "n": 1}
    said = text(show=shown)
    assert "  +new\n   same" in said
    assert "  set -e\n      rm x\n" in said
    assert said.index("patch") < said.index("n: 1")
    found = {words: styles(words, show=shown) for words in ("+new", "-old", "@@ -1", "+++ b", "set -e")}
    assert found == {"+new": {"added"}, "-old": {"removed"}, "@@ -1": {"hunk"}, "+++ b": {"strong"}, "set -e": {"code"}}
    assert not is_diff(["- a", "- b"])


def test_values_cannot_be_taken_for_others() -> None:
    said = text(show={"a": "true", "b": True, "c": "1", "d": 1, "e": "", "f": " x", "g": "x", "h": None, "i": []})
    for words in ('a: "true"', "b: true", 'c: "1"', "d: 1", 'e: ""', 'f: " x"', "g: x", "h: null", "i: []"):
        assert words in said.splitlines()


def test_hostile_text_is_inert_everywhere() -> None:
    evil = "a\x1b[2Jb\u202ec\r[red]d[/red]"
    vote = Vote(approval="ap-1", by=evil, decision="approved", at=NOW, comment=evil, values={"k": evil})
    said = text(
        votes=(vote,),
        message=evil,
        workflow=evil,
        path=evil,
        approvers=(evil,),
        show={evil: evil, "argv": [evil], "block": f"{evil}\nx", "deep": {"a": {"b": [evil] * 20}}},
        form={"f": {"type": "string", "default": evil, "description": evil}},
    )
    assert all(character == "\n" or character.isprintable() for character in said)
    assert "\\x1b[2J" in said
    assert "\\u202e" in said
    assert "[red]d[/red]" in said


def test_the_form_shows_what_it_holds_now() -> None:
    form = {"n": {"type": "integer", "default": 3}, "why": {"type": "string", "required": True}, "x": "any"}
    vote = Vote(approval="ap-1", by="bo", decision="approved", at=NOW, values={"n": 5})
    assert "n: 3  integer, default 3" in text(form=form)
    assert "why: needs a value" in text(form=form)
    assert "x: no value" in text(form=form)
    assert "n: 5  integer" in text(votes=(vote,), form=form, quorum=2)


def test_a_vote_that_changes_a_call_and_grants_such_calls_says_what_it_grants() -> None:
    show = {"tool": "fs.write", "covers": {"path": "a.txt", "content": "B"}}
    form = {"path": {"type": "string", "default": "a.txt"}, "content": {"type": "string", "default": "B"}}
    vote = Vote(approval="ap-1", by="bo", decision="approved", at=NOW, values={"content": "EDITED"}, grant="run")
    said = text(votes=(vote,), about="tool", show=show, form=form, call="a/tool/0.0")
    assert "and for this run each call that is exactly fs.write path=a.txt content=EDITED" in said


def test_votes_of_an_earlier_level_are_told_apart() -> None:
    votes = (
        Vote(approval="ap-1", by="bo", decision="approved", at=NOW, comment="fine"),
        Vote(approval="ap-1", by="cy", decision="rejected", at=NOW, level=1),
    )
    said = text(votes=votes, level=1)
    assert "bo approved" in said
    assert "does not count any more: fine" in said
    assert "cy rejected" in said


async def test_an_input_that_is_kept_apart_is_read_and_one_that_is_gone_is_told(tmp_path: Path) -> None:
    async with reading(tmp_path) as client:
        data = b'{"argv":["echo","large"]}'
        entry = asked(1, blob=Blob(digest="b" * 64, size=len(data)))
        await put(client, begun(1), msgspec.structs.replace(entry, blobs=(("b" * 64, data),)))
        await asks(client, 2, blob=Blob(digest="c" * 64, size=9))
        look = await look_at(client, "ap-000001")  # type: ignore[arg-type]
        assert (look.input, look.missing) == ({"argv": ["echo", "large"]}, False)
        gone = await look_at(client, "ap-000002")  # type: ignore[arg-type]
        assert gone.missing
        assert "no longer in the store" in "".join(
            part for line in chain.from_iterable(preview(gone, Standing(), Times(), NOW)) for part, _ in line
        )


async def test_votes_that_no_engine_has_carried_out_are_seen(tmp_path: Path) -> None:
    async with reading(tmp_path) as client:
        await asks(client, 1)
        data = {"approval": "ap-000001", "decision": "approved"}
        await client.store.signals.publish(Signal(id="s", type=VOTE, source="t", at=NOW, by="ana", data=data))
        inbox = await loaded(client, who="ana")
        look = await look_at(client, "ap-000001")  # type: ignore[arg-type]
        inbox.note(look)
        assert inbox.standing(look.approval).voted == "approved"
        shown = [*chain.from_iterable(preview(look, inbox.standing(look.approval), Times(), NOW))]
        assert any("an engine has to carry it out" in part for line in shown for part, _ in line)


async def test_reading_the_list_again_makes_it_no_longer(tmp_path: Path) -> None:
    async with reading(tmp_path) as client:
        await asks(client, *range(PAGE + 60))
        inbox = await loaded(client)
        inbox.keep(inbox.key(0))
        await put(client, decided(0))
        for _ in range(3):
            await inbox.load()
            assert inbox.count == PAGE + 1, "what the cursor is on, and a page of those that wait"
            assert inbox.more


async def test_a_mark_outlives_neither_a_decision_nor_the_list_it_was_made_in(tmp_path: Path) -> None:
    async with reading(tmp_path) as client:
        await asks(client, *range(4))
        inbox = await loaded(client)
        keys = [inbox.key(at) for at in range(4)]
        await put(client, decided(1))
        assert await inbox.outlived(keys) == [keys[1]]  # type: ignore[arg-type]
        inbox.filter = "status:approved"
        await inbox.load()
        assert await inbox.outlived(keys) == [], "it is listed because it was decided"  # type: ignore[arg-type]
        assert await inbox.everything() == [keys[1]]


async def test_what_is_large_is_not_read_again_while_it_is_the_same(tmp_path: Path) -> None:
    async with reading(tmp_path) as client:
        digest = "b" * 64
        await client.store.blobs.put(digest, b'{"argv": ["ls"]}')
        blob = Blob(digest=digest, size=16)
        await asks(client, 1, blob=blob)
        first = await look_at(client, "ap-000001")  # type: ignore[arg-type]
        assert first.input == {"argv": ["ls"]}
        again = await look_at(client, "ap-000001", first)  # type: ignore[arg-type]
        assert again.input is first.input
        assert not again.missing
