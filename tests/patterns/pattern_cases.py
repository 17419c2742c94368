"""What each file of docs/patterns does: how its steps end and when, what comes out, and what the world did meanwhile.

A word of `steps` is a path; after `:` how it ended, unless it completed (`dead`: skipped because its needs could no
longer be met; `pending`: never begun); after `!` when, since the beginning of the story, unless that was at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from unittest.mock import ANY


@dataclass(frozen=True)
class Ran:
    """One run: every step it had, and how it came out."""

    workflow: str
    steps: str
    output: Any = None
    status: str = "completed"
    error: str = ""


@dataclass(frozen=True)
class Case:
    """A story: a run is started, the operator and the world do something, and these are the runs there were."""

    ran: Ran
    variant: str = ""
    inputs: dict[str, Any] = field(default_factory=dict)
    acts: tuple[tuple[Any, ...], ...] = ()
    """When, a method of `Stage`, its arguments; `RUN` stands for the id of the first run."""
    others: tuple[Ran, ...] = ()

    @property
    def id(self) -> str:
        return f"{self.ran.workflow}-{self.variant}" if self.variant else self.ran.workflow

    @property
    def all(self) -> tuple[Ran, ...]:
        return (self.ran, *self.others)


CASES = (
    # Basic control flow
    Case(Ran("sequence", "words distinct count", 4)),
    Case(Ran("parallel-split", "build test!20m scan!5m")),
    Case(Ran("synchronization", "build test!20m scan!5m release!20m", "released v7")),
    Case(
        Ran(
            "parallel-block",
            "looks!3m both!3m looks.read_english!3m looks.english!3m looks.french",
            "good morning, bonjour",
        )
    ),
    Case(Ran("exclusive-choice", "route route.automatic", "paid at once")),
    Case(Ran("exclusive-choice", "route route.manual", "a clerk looks at it"), variant="much", inputs={"amount": 5000}),
    Case(Ran("simple-merge", "pay charge bill:dead ship", "shipped")),
    Case(Ran("simple-merge", "pay charge:dead bill ship", "shipped"), variant="invoice", inputs={"method": "invoice"}),
    # Advanced branching and joining
    Case(Ran("multi-choice", "mail chat:skipped page", "paged")),
    Case(Ran("multi-choice", "mail:skipped chat:skipped page:skipped"), variant="none", inputs={"channels": []}),
    Case(Ran("synchronizing-merge", "mail!1m chat:skipped page!2m log!2m", "everybody knows")),
    Case(
        Ran("synchronizing-merge", "mail:skipped chat:skipped page:skipped log", "everybody knows"),
        variant="none",
        inputs={"channels": []},
    ),
    Case(Ran("acyclic-synchronizing-merge", "check review:dead second_review:dead price!10m offer!10m", "sent")),
    Case(
        Ran("acyclic-synchronizing-merge", "check review!1d second_review!2d price!10m offer!2d", "sent"),
        variant="high",
        inputs={"risk": "high"},
    ),
    Case(
        Ran(
            "multi-merge",
            "media!30m media[0].convert!30m media[0].publish!30m media[1].convert!1m "
            "media[1].publish!1m media[0].convert.transcode!30m media[1].convert.resize!1m",
            ["film published", "photo published"],
        )
    ),
    Case(Ran("structured-discriminator", "ask!1s use!1s ask.ask_near!1s ask.near!1s ask.ask_far!3s ask.far!3s", 41)),
    Case(
        Ran(
            "cancelling-discriminator",
            "ask!1s use!1s ask.ask_near!1s ask.near!1s ask.ask_far:cancelled!1s ask.far:pending",
            41,
        )
    ),
    Case(
        Ran(
            "blocking-discriminator",
            "rounds!6s rounds[0].ask!1s rounds[0].use!1s rounds[0].ask.ask_near!1s "
            "rounds[0].ask.ask_far!3s rounds[1].ask!4s rounds[1].use!4s rounds[1].ask.ask_near!4s "
            "rounds[1].ask.ask_far!6s",
            ["spring began with the first answer", "autumn began with the first answer"],
        )
    ),
    Case(Ran("structured-partial-join", "ana!1h ben!2h lea!5h publish!2h", "published")),
    Case(
        Ran(
            "cancelling-partial-join",
            "reviews!2h publish!2h reviews.ana!1h reviews.ben!2h reviews.lea:cancelled!2h",
            "published",
        )
    ),
    Case(
        Ran(
            "blocking-partial-join",
            "rounds!10h rounds[0].ana!1h rounds[0].ben!2h rounds[0].lea!5h rounds[0].publish!2h "
            "rounds[1].ana!6h rounds[1].ben!7h rounds[1].lea!10h rounds[1].publish!7h",
            ["spring published", "autumn published"],
        )
    ),
    # Iteration and the end
    Case(
        Ran(
            "while-loop",
            "begin halve halve[0].next halve[1].next halve[2].next halve[3].next halve[4].next "
            "halve[5].next halve[6].next halve[7].next",
            8,
        )
    ),
    Case(
        Ran(
            "repeat-until",
            "improve!3h improve[0].write!1h improve[0].judge!1h improve[1].write!2h "
            "improve[1].judge!2h improve[2].write!3h improve[2].judge!3h",
            {"round": 3, "score": 90},
        )
    ),
    Case(
        Ran(
            "arbitrary-cycles",
            "machine!2d3h3m machine[0].go!1h machine[0].go.write!1h machine[1].go!1h1m "
            "machine[1].go.spell!1h1m machine[2].go!2h1m machine[2].go.write!2h1m "
            "machine[3].go!2h2m machine[3].go.spell!2h2m machine[4].go!1d2h2m "
            "machine[4].go.judge!1d2h2m machine[5].go!1d3h2m machine[5].go.write!1d3h2m "
            "machine[6].go!1d3h3m machine[6].go.spell!1d3h3m machine[7].go!2d3h3m "
            "machine[7].go.judge!2d3h3m",
            3,
        )
    ),
    Case(
        Ran("recursion", "parts parts[0].part parts[1].part", 4321),
        others=(
            Ran("recursion", "parts parts[0].part", 320),
            Ran("recursion", "parts", 4000),
            Ran("recursion", "parts", 300),
        ),
    ),
    Case(Ran("implicit-termination", "publish tell_readers!1h tell_author!1m", "done")),
    Case(Ran("explicit-termination", "kitchen:cancelled!5m hall!5m give_up:pending found!5m", "hall")),
    # Several instances of one activity
    Case(
        Ran("mi-without-synchronization", "all done all[0].start all[1].start all[2].start", "3 on their way"),
        others=(
            Ran("mi-letter", "write!1h letter!1h", "Dear ana"),
            Ran("mi-letter", "write!1h letter!1h", "Dear ben"),
            Ran("mi-letter", "write!1h letter!1h", "Dear lea"),
        ),
    ),
    Case(
        Ran(
            "mi-design-time",
            "signatures!3h signatures[0].sign!1h signatures[0].signed!1h signatures[1].sign!2h "
            "signatures[1].signed!2h signatures[2].sign!3h signatures[2].signed!3h",
            ["signed: chair", "signed: treasurer", "signed: secretary"],
        )
    ),
    Case(
        Ran(
            "mi-run-time",
            "texts convert!20s convert[0].work!10s convert[0].converted!10s convert[1].work!10s "
            "convert[1].converted!10s convert[2].work!20s convert[2].converted!20s "
            "convert[3].work!20s convert[3].converted!20s",
            ["a.pdf", "c.pdf", "d.pdf", "e.pdf"],
        )
    ),
    Case(
        Ran(
            "mi-while",
            "crawl crawl[0].visit crawl[1].visit crawl[2].visit crawl[3].visit",
            ["home", "news", "shop", "news/1"],
        )
    ),
    Case(
        Ran("mi-recursive", "next!10m both!2h20m nobody:dead!10m both.work!2h10m both.more!2h20m", 2),
        acts=(
            ("10m", "publish", "ticket.opened"),
            ("20m", "publish", "ticket.opened"),
        ),
        others=(
            Ran("mi-recursive", "next!20m both!2h20m nobody:dead!20m both.work!2h20m both.more!1h20m", 1),
            Ran("mi-recursive", "next:timeout!1h20m both:dead!1h20m nobody!1h20m", 0),
        ),
    ),
    Case(
        Ran(
            "mi-partial-join",
            "ask!20m choose!20m ask.two!20m ask.each!40m ask.each[0].answer!10m "
            "ask.each[0].offer!10m ask.each[0].tell:skipped!10m ask.each[1].answer!20m "
            "ask.each[1].offer!20m ask.each[1].tell!20m ask.each[2].answer!30m "
            "ask.each[2].offer!30m ask.each[2].tell!30m ask.each[3].answer!40m "
            "ask.each[3].offer!40m ask.each[3].tell!40m",
            ["a", "b"],
        )
    ),
    Case(
        Ran(
            "mi-cancelling-partial-join",
            "ask!20m choose!20m ask.two!20m ask.each:cancelled!20m ask.each[0].answer!10m "
            "ask.each[0].offer!10m ask.each[0].tell:skipped!10m ask.each[1].answer!20m "
            "ask.each[1].offer!20m ask.each[1].tell!20m ask.each[2].answer:cancelled!20m "
            "ask.each[2].offer:pending ask.each[2].tell:pending ask.each[3].answer:cancelled!20m "
            "ask.each[3].offer:pending ask.each[3].tell:pending",
            ["a", "b"],
        )
    ),
    # State
    Case(
        Ran(
            "deferred-choice",
            "event!2d go_on!2d event.paid:cancelled!2d event.withdrawn:cancelled!2d event.silence!2d go_on.remind!2d",
            "reminded",
        )
    ),
    Case(
        Ran(
            "deferred-choice",
            "event!1h go_on!1h event.paid!1h event.withdrawn:cancelled!1h event.silence:cancelled!1h go_on.ship!1h",
            "shipped",
        ),
        variant="paid",
        acts=(
            ("1h", "publish", "order.paid"),
            ("2h", "publish", "order.withdrawn"),
        ),
    ),
    Case(
        Ran(
            "deferred-choice",
            "event!1h go_on!1h event.paid:cancelled!1h event.withdrawn!1h event.silence:cancelled!1h go_on.end!1h",
            "closed",
        ),
        variant="withdrawn",
        acts=(("1h", "publish", "order.withdrawn"),),
    ),
    Case(Ran("deferred-choice-timer", "payment:timeout!2d ship:dead!2d remind!2d", "reminded")),
    Case(
        Ran("deferred-choice-timer", "payment!2h ship!2h remind:dead!2h", "120 received"),
        variant="paid",
        acts=(
            ("1h", "publish", "order.paid", {"data": {"amount": 20}}),
            ("2h", "publish", "order.paid", {"data": {"amount": 120}}),
        ),
    ),
    Case(Ran("interleaved-routing", "xray!10m talk!45m blood!15m home!45m", "done")),
    Case(
        Ran("critical-section", "build!5m deploy!15m"),
        acts=(
            ("1m", "start", "critical-section"),
            ("2m", "start", "critical-section", {"service": "mail"}),
        ),
        others=(
            Ran("critical-section", "build!6m deploy!25m"),
            Ran("critical-section", "build!7m deploy!17m"),
        ),
    ),
    Case(
        Ran("newest-wins", "make:cancelled!1m", status="cancelled", error="a newer run took group:preview-main"),
        acts=(
            ("1m", "start", "newest-wins"),
            ("2m", "start", "newest-wins", {"branch": "other"}),
        ),
        others=(
            Ran("newest-wins", "make!11m"),
            Ran("newest-wins", "make!12m"),
        ),
    ),
    Case(
        Ran(
            "milestone",
            "order!3h order.open!1h order.pack!2h order.request:timeout!3h order.apply:dead!3h order.refuse:dead!3h",
        )
    ),
    Case(
        Ran(
            "milestone",
            "order!2h order.open!1h order.pack!2h order.request!1h30m order.apply!1h30m order.refuse:dead!1h30m",
            "changed",
        ),
        variant="open",
        acts=(("90m", "publish", "order.change"),),
    ),
    Case(
        Ran(
            "milestone",
            "order!2h order.open!1h order.pack!2h order.request!30m order.apply:skipped!30m order.refuse!30m",
            "not while new",
        ),
        variant="early",
        acts=(("30m", "publish", "order.change"),),
    ),
    Case(
        Ran(
            "milestone",
            "order!2h30m order.open!1h order.pack!2h order.request!2h30m order.apply:skipped!2h30m order.refuse!2h30m",
            "not while packed",
        ),
        variant="late",
        acts=(("150m", "publish", "order.change"),),
    ),
    # Cancellation
    Case(
        Ran(
            "cancel-activity",
            "survey!7d report!7d survey.ask!7d survey.answers!7d survey.enough:cancelled!7d",
            "120 answers",
        )
    ),
    Case(
        Ran(
            "cancel-activity",
            "survey!1d report!1d survey.ask:cancelled!1d survey.answers:pending survey.enough!1d",
            "no survey",
        ),
        variant="cancelled",
        acts=(
            ("1h", "publish", "survey.cancel", {"subject": "another"}),
            ("1d", "publish", "survey.cancel", {"subject": "RUN"}),
        ),
    ),
    Case(
        Ran(
            "cancel-case",
            "reserve evening:cancelled!30d dinner:pending reserve@compensate!30d1s",
            status="timeout",
            error="the deadline has passed",
        )
    ),
    Case(
        Ran(
            "cancel-case",
            "reserve evening:cancelled!1h dinner:pending reserve@compensate!1h1s",
            status="cancelled",
            error="cancelled by ana",
        ),
        variant="cancelled",
        acts=(("1h", "command", "fleet.run.cancel", "RUN"),),
    ),
    Case(
        Ran(
            "cancel-region",
            "cook!2h outdoors!3h eat!3h outdoors.warning:cancelled!3h outdoors.tables!1h "
            "outdoors.music!3h outdoors.lights!2h",
            "in the garden",
        )
    ),
    Case(
        Ran(
            "cancel-region",
            "cook!2h outdoors!1h30m eat!2h outdoors.warning!1h30m outdoors.tables!1h "
            "outdoors.music:cancelled!1h30m outdoors.lights:cancelled!1h30m",
            "indoors",
        ),
        variant="rain",
        acts=(("90m", "publish", "weather.rain"),),
    ),
    Case(
        Ran(
            "cancel-mi",
            "tests!3h recalled:skipped!3h passed!3h tests.recall:cancelled!3h tests.each!3h "
            "tests.each[0].test!1h tests.each[1].test!2h tests.each[2].test!3h",
            "all parts passed",
        )
    ),
    Case(
        Ran(
            "cancel-mi",
            "tests!1h30m recalled!1h30m passed:pending tests.recall!1h30m "
            "tests.each:cancelled!1h30m tests.each[0].test!1h tests.each[1].test:cancelled!1h30m "
            "tests.each[2].test:cancelled!1h30m",
            status="failed",
            error="recalled",
        ),
        variant="recalled",
        acts=(("90m", "publish", "part.recalled"),),
    ),
    Case(
        Ran(
            "complete-mi",
            "collect!20m total!20m collect.finish:cancelled!20m collect.each!20m "
            "collect.each[0].ring!10m collect.each[0].gift!10m collect.each[1].ring!10m "
            "collect.each[1].gift!10m collect.each[2].ring!20m collect.each[2].gift!20m "
            "collect.each[3].ring!20m collect.each[3].gift!20m",
            100,
        )
    ),
    Case(
        Ran(
            "complete-mi",
            "collect!15m total!15m collect.finish!15m collect.each:cancelled!15m "
            "collect.each[0].ring!10m collect.each[0].gift!10m collect.each[1].ring!10m "
            "collect.each[1].gift!10m collect.each[2].ring:cancelled!15m "
            "collect.each[2].gift:pending collect.each[3].ring:cancelled!15m "
            "collect.each[3].gift:pending",
            30,
        ),
        variant="finished",
        acts=(("15m", "publish", "collection.finish"),),
    ),
    # Triggers and threads
    Case(
        Ran("transient-trigger", "asleep!8h bell:timeout!9h open:dead!9h missed!9h", "nobody rang"),
        acts=(("2h", "publish", "door.bell"),),
    ),
    Case(
        Ran("transient-trigger", "asleep!8h bell!8h30m open!8h30m missed:dead!8h30m", "opened"),
        variant="heard",
        acts=(
            ("2h", "publish", "door.bell"),
            ("8h30m", "publish", "door.bell"),
        ),
    ),
    Case(
        Ran("persistent-trigger", "parcel!2h prepare!8h unpack!8h", "a book"),
        acts=(("2h", "publish", "parcel.arrived", {"data": "a book"}),),
    ),
    Case(
        Ran(
            "thread-split-merge",
            "dice!1s sum!1s dice[0].roll!1s dice[0].shown!1s dice[1].roll!1s dice[1].shown!1s "
            "dice[2].roll!1s dice[2].shown!1s",
            12,
        )
    ),
    # For operators
    Case(Ran("retry-backoff", "fetch!30s", "answered attempt 3")),
    Case(Ran("timeout", "ask:timeout!30s cached!30s use!30s", "yesterday's answer")),
    Case(
        Ran(
            "saga",
            "flight hotel car:failed hotel@compensate!1s flight@compensate!2s",
            status="failed",
            error="RuntimeError: no car left",
        )
    ),
    Case(Ran("handled-failure", "primary:failed backup use", "from the backup, because RuntimeError: it is down")),
    Case(Ran("approval-quorum", "gate:failed!1d delete:dead!1d keep!1d", "kept")),
    Case(
        Ran("approval-quorum", "gate!2h delete!2h keep:dead!2h", "deleted by ana and ben"),
        variant="oncall",
        acts=(
            ("1h", "vote", "approved", "ana"),
            ("2h", "vote", "approved", "ben"),
        ),
    ),
    Case(
        Ran("approval-quorum", "gate!6h delete!6h keep:dead!6h", "deleted by lea and lou"),
        variant="leads",
        acts=(
            ("1h", "vote", "approved", "ana"),
            ("5h", "vote", "approved", "lea"),
            ("6h", "vote", "approved", "lou"),
        ),
    ),
    Case(
        Ran("approval-quorum", "gate:failed!2h delete:dead!2h keep!2h", "kept"),
        variant="no",
        acts=(
            ("1h", "vote", "approved", "ana"),
            ("2h", "vote", "rejected", "ben"),
        ),
    ),
    Case(Ran("approval-gated-step", "pay:failed!1d dont!1d", "not paid")),
    Case(
        Ran("approval-gated-step", "pay!1h dont:dead!1h", "booked a payment of 120"),
        variant="approved",
        acts=(("1h", "vote", "approved", "lea"),),
    ),
    Case(Ran("reconcile", "pay!30s thank!30s", "thank you for 120")),
    Case(
        Ran("idempotent-emit", "tell", ANY),
        acts=(("1h", "start", "idempotent-emit"),),
        others=(
            Ran("signal-trigger", "print", "printed the report of 2026-11-20"),
            Ran("idempotent-emit", "tell!1h", ANY),
        ),
    ),
    Case(
        Ran("signal-trigger", "print", "printed the report of x"),
        inputs={"day": "x"},
        acts=(
            ("1h", "publish", "report.ready", {"data": {"day": "monday", "pages": 3}}),
            ("2h", "publish", "report.ready", {"data": {"day": "tuesday", "pages": 10}}),
        ),
        others=(Ran("signal-trigger", "print!2h", "printed the report of tuesday"),),
    ),
    Case(
        Ran("sequence", "words distinct count", 4),
        variant="then",
        others=(Ran("completion-trigger", "tell", "run signal-1 of sequence is completed"),),
    ),
    Case(
        Ran(
            "map-reduce",
            "map reduce map[0].count map[1].count",
            {"be": 2, "to": 2, "is": 1, "not": 1, "or": 1, "question": 1, "that": 1, "the": 1},
        )
    ),
    Case(
        Ran("partial-failure", "each report each[0].divide each[1].divide:failed each[2].divide", {"good": 2, "bad": 1})
    ),
    Case(Ran("polling", "job!3m", {"status": "done", "errors": 0})),
    Case(Ran("stop-guard", "nothing pack:pending packed:pending", {"packed": 0})),
    Case(
        Ran("stop-guard", "nothing:skipped pack!2h packed!2h", {"packed": 2}),
        variant="orders",
        inputs={"orders": [1, 2]},
    ),
    Case(
        Ran(
            "circuit-breaker",
            "each each[0].send:failed each[0].result each[1].send:failed each[1].result "
            "each[2].send:skipped each[2].result each[3].send:skipped each[3].result",
            ["order 1: failed", "order 2: failed", "order 3: skipped", "order 4: skipped"],
        )
    ),
    Case(Ran("variables", "each each[0].book each[1].book each[2].book", {"balance": 135, "lowest": 80})),
    Case(
        Ran("last-run", "done batch", {"batch": ["a", "b"], "next": 2}),
        acts=(
            ("1h", "start", "last-run"),
            ("2h", "start", "last-run"),
        ),
        others=(
            Ran("last-run", "done!1h batch!1h", {"batch": ["c", "d"], "next": 4}),
            Ran("last-run", "done!2h batch!2h", {"batch": ["e"], "next": 5}),
        ),
    ),
)
