"""Command lines that do something else than they seem to: code in an argument, a program that starts another one,
options that name a program or a file to write. PURE.

What is found is refused unless a rule of the policy is written for it. This is a list, and no sandbox: a program that
is not on it can start others as well, and is asked about before it runs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from msgspec import Struct

NEVER = frozenset({"sudo", "sudoedit", "doas", "su", "pkexec", "runuser", "setpriv", "gosu", "run0"})
"""Programs that give other rights. No policy lets them through."""
INTERPRETERS = frozenset((
    "sh", "bash", "rbash", "dash", "ash", "zsh", "ksh", "mksh", "fish", "csh", "tcsh", "pwsh", "powershell", "busybox",
    "toybox", "osascript", "expect", "tclsh", "wish", "awk", "gawk", "mawk", "nawk", "original-awk", "sed", "gsed",
    "ed", "ex", "vi", "view", "vim", "nvim", "emacs", "nano", "less", "more", "man", "gdb", "lldb", "m4", "screen",
    "tmux", "script",
))  # fmt: skip
"""Programs whose arguments or input are programs, or that lead to a shell."""
WRAPPERS = frozenset((
    "env", "xargs", "parallel", "nohup", "setsid", "timeout", "nice", "ionice", "chrt", "taskset", "stdbuf", "unbuffer",
    "time", "watch", "flock", "chroot", "unshare", "nsenter", "bwrap", "firejail", "strace", "ltrace", "perf", "exec",
    "command", "eval", "at", "batch", "crontab", "systemd-run", "start-stop-daemon", "daemonize", "entr", "capsh",
    "ssh-agent", "dbus-run-session", "xvfb-run", "fakeroot", "catchsegv", "ld.so", "prlimit", "numactl", "socat",
))  # fmt: skip
"""Programs that start the program in their arguments: a rule about that one would not see it."""


class Tricks(Struct, frozen=True):
    """What makes options of a program dangerous."""

    long: tuple[str, ...] = ()
    """Options such as `--exec`, also abbreviated, also with `=value`."""
    short: str = ""
    """Letters of options, alone or after others: `-c`, `-Sc`, `-ccode`."""
    takes: str = ""
    """Letters of harmless options that take a value: what follows such a letter is no option. A wrong one here is a way
    around; one that is missing refuses too much."""
    words: tuple[str, ...] = ()
    """Whole arguments, such as `-exec` of find."""
    inside: str = ""
    """A regular expression that is searched in each argument."""


_PROGRAMS: dict[str, Tricks] = {
    "python": Tricks(short="ci", takes="WXm"),
    "pypy": Tricks(short="ci", takes="WXm"),
    "perl": Tricks(short="eEi", takes="IMm", inside=r"^-[Mm].*[=( ]"),
    "ruby": Tricks(short="eri", takes="I", long=("--require",)),
    "node": Tricks(short="epri", long=("--eval", "--print", "--require", "--import", "--loader", "--interactive")),
    "nodejs": Tricks(short="epri", long=("--eval", "--print", "--require", "--import", "--loader", "--interactive")),
    "deno": Tricks(words=("eval", "repl")),
    "bun": Tricks(short="epr", long=("--eval", "--print", "--preload"), words=("x", "exec")),
    "php": Tricks(short="rBREa", takes="cdz", long=("--run", "--process-begin", "--process-code", "--process-end")),
    "lua": Tricks(short="eli"),
    "luajit": Tricks(short="eli"),
    "julia": Tricks(short="eELi", long=("--eval", "--print", "--load")),
    "rscript": Tricks(short="e"),
    "r": Tricks(short="e", long=("--eval",)),
    "java": Tricks(inside=r"^-(?:javaagent|agentpath|agentlib|XX:On)", words=("--source",)),
    "find": Tricks(
        words=(
            "-exec",
            "-execdir",
            "-ok",
            "-okdir",
            "-delete",
            "-fprint",
            "-fprint0",
            "-fprintf",
            "-fls",
            "-files0-from",
        )
    ),
    "fd": Tricks(short="xX", long=("--exec", "--exec-batch")),
    "rg": Tricks(long=("--pre", "--hostname-bin")),
    "tar": Tricks(
        short="IFP",
        long=(
            "--checkpoint-action",
            "--to-command",
            "--use-compress-program",
            "--info-script",
            "--new-volume-script",
            "--rsh-command",
            "--rmt-command",
            "--absolute-names",
        ),
    ),
    "rsync": Tricks(short="eM", long=("--rsh", "--rsync-path", "--daemon", "--config", "--remote-option")),
    "ssh": Tricks(short="oFWLRDw"),
    "scp": Tricks(short="oFSD"),
    "sftp": Tricks(short="oFSbD"),
    "sort": Tricks(short="oT", long=("--output", "--compress-program", "--temporary-directory")),
    "curl": Tricks(
        short="oOKTDcx",
        long=(
            "--output",
            "--remote-name",
            "--config",
            "--upload-file",
            "--output-dir",
            "--dump-header",
            "--trace",
            "--cookie-jar",
            "--libcurl",
            "--engine",
            "--proxy",
            "--stderr",
            "--etag-save",
            "--hsts",
            "--alt-svc",
        ),
    ),
    "wget": Tricks(
        short="eOoia",
        long=(
            "--use-askpass",
            "--execute",
            "--output-document",
            "--output-file",
            "--append-output",
            "--post-file",
            "--body-file",
            "--config",
            "--directory-prefix",
            "--input-file",
            "--save-cookies",
        ),
    ),
    "make": Tricks(
        short="fCIE",
        long=("--eval", "--file", "--makefile", "--directory", "--include-dir"),
        inside=r"^[A-Za-z_.]+[:+?!]*=",
    ),
    "gmake": Tricks(
        short="fCIE", long=("--eval", "--file", "--makefile", "--directory"), inside=r"^[A-Za-z_.]+[:+?!]*="
    ),
    "npm": Tricks(words=("exec", "x", "explore", "config", "set")),
    "pip": Tricks(
        words=("config",), long=("--python", "--target", "--prefix", "--root", "--index-url", "--extra-index-url")
    ),
    "uv": Tricks(words=("run", "tool", "x")),
    "docker": Tricks(words=("run", "exec", "build", "cp", "create", "compose", "buildx", "load", "import", "plugin")),
    "podman": Tricks(words=("run", "exec", "build", "cp", "create", "compose", "load", "import")),
    "kubectl": Tricks(
        words=("exec", "cp", "run", "debug", "attach", "proxy", "port-forward", "plugin"), long=("--kubeconfig",)
    ),
    "sqlite3": Tricks(
        inside=r"(?im)^\s*\.|load_extension|writefile|edit\s*\(", words=("-cmd", "-init", "--cmd", "--init")
    ),
    "psql": Tricks(
        short="cfovLS",
        long=("--command", "--file", "--output", "--set", "--variable", "--log-file"),
        inside=r"\\[!ogc]",
    ),
    "mysql": Tricks(short="e", long=("--execute", "--init-command", "--pager", "--tee", "--plugin-dir")),
    "zip": Tricks(short="T", long=("--unzip-command",)),
    "dd": Tricks(inside=r"^of="),
    "openssl": Tricks(words=("-engine", "-provider", "-out", "-writerand", "engine")),
    "nmap": Tricks(
        long=("--script", "--interactive", "--resume", "--datadir"), words=("-iL", "-oN", "-oX", "-oA", "-oG")
    ),
    "tcpdump": Tricks(short="zw"),
    "split": Tricks(long=("--filter",)),
    "gpg": Tricks(long=("--exec-path", "--photo-viewer", "--output", "--homedir", "--options", "--agent-program")),
    "pytest": Tricks(short="cpo", long=("--pastebin", "--rootdir", "--config-file", "--override-ini", "--basetemp")),
}
"""What is known of other programs; letters that are not in `takes` count wherever they stand after a single dash."""
_READ_INPUT = frozenset((
    "pypy", "perl", "ruby", "node", "nodejs", "php", "lua", "julia", "r", "psql", "sqlite3", "mysql",
))  # fmt: skip
_PYTHON_MODULES = frozenset((
    "timeit", "code", "pdb", "bdb", "profile", "cProfile", "trace", "runpy", "idlelib", "asyncio", "pty", "ensurepip",
    "http", "smtpd", "zipapp", "venv", "webbrowser", "IPython", "this", "site",
))  # fmt: skip
_GIT_GLOBAL = Tricks(
    short="cCpP",
    long=("--config-env", "--exec-path", "--git-dir", "--work-tree", "--namespace", "--paginate", "--attr-source"),
)
_GIT_ANY = Tricks(
    long=("--upload-pack", "--receive-pack", "--exec", "--ext-diff", "--textconv", "--output", "--open-files-in-pager",
          "--template", "--force", "--force-with-lease", "--force-create", "--mirror", "--recurse-submodules",
          "--no-index", "--editor", "--edit", "--gpg-sign", "--upload-archive", "--remote-cmd", "--filters", "--delete",
          "--strategy", "--interactive", "--patch-with-editor", "--exec-path", "--hard", "--prune", "--orphan"),
    inside=r"^[a-z][\w+.-]*::",
)  # fmt: skip
_GIT_SHORT = {
    "add": "eif", "branch": "DMfCdm", "checkout": "fBb", "cherry-pick": "eSsX", "clean": "fdxiX", "commit": "eFtcCS",
    "diff": "O", "fetch": "fup", "grep": "Of", "merge": "SsXe", "mv": "f", "pull": "fsX", "push": "fd",
    "revert": "eSsX", "rm": "f", "switch": "fC", "tag": "dfusF",
}  # fmt: skip
_GIT_COMMANDS = frozenset((
    "add", "blame", "branch", "cat-file", "check-ignore", "checkout", "cherry", "cherry-pick", "clean", "commit",
    "count-objects", "describe", "diff", "diff-files", "diff-index", "diff-tree", "fetch", "for-each-ref", "fsck",
    "grep", "log", "ls-files", "ls-remote", "ls-tree", "merge", "merge-base", "mv", "name-rev", "notes", "pull", "push",
    "range-diff", "reflog", "remote", "reset", "restore", "rev-list", "rev-parse", "revert", "rm", "shortlog", "show",
    "show-branch", "show-ref", "stash", "status", "switch", "symbolic-ref", "tag", "version", "whatchanged",
))  # fmt: skip
"""Commands of Git that do what they are called. Others start programs that a repository or an argument names, change
what Git does later on, or are aliases, which may be anything."""


def never(argv: Sequence[str]) -> str:
    """Why a command line is refused whatever a policy says; empty: it is not."""
    name = program(argv)
    if name in NEVER:
        return f"`{name}` gives other rights"
    return ""


def trick(argv: Sequence[str]) -> str:
    """What makes a command line something else than it seems to be; empty: nothing known."""
    name, arguments = program(argv), argv[1:]
    if name in INTERPRETERS:
        return f"`{name}` runs what its arguments or its input say"
    if name in WRAPPERS:
        return f"`{name}` starts another program"
    if name == "git":
        return _git(arguments)
    if name.startswith("git-"):
        return f"`{name}` is a part of Git that is not called by itself"
    if name == "npx":
        return "`npx` fetches and runs a package"
    if name == "python":
        return _python(arguments)
    known = _PROGRAMS.get(name)
    if known is None:
        return ""
    found = _found(known, arguments)
    if name == "tar" and arguments and not arguments[0].startswith("-"):
        # Its first argument is a cluster of options also without a dash.
        found = found or _found(known, [f"-{arguments[0]}"])
    if not arguments and name in _READ_INPUT:
        return f"`{name}` without arguments runs its input"
    return f"`{found}` of `{name}` runs or overwrites what it names" if found else ""


def program(argv: Sequence[str]) -> str:
    """The name that a program is known by here: without folder, version and letter case."""
    name = PurePosixPath(argv[0]).name.casefold().removesuffix(".exe")
    if name in ("m4", "sqlite3"):
        return name
    return re.sub(r"[0-9.]+w?$", "", name) or name


def _git(arguments: Sequence[str]) -> str:
    for i, argument in enumerate(arguments):
        if not argument.startswith("-"):
            if argument not in _GIT_COMMANDS:
                return f"`git {argument}` may start other programs or change what Git does"
            rest = arguments[i + 1 :]
            found = _found(_GIT_ANY, rest) or _found(Tricks(short=_GIT_SHORT.get(argument, "")), rest)
            if not found and argument in ("push", "fetch", "pull"):
                found = next((item for item in rest if item.startswith(("+", ":"))), "")
            return f"`{found}` of `git {argument}` runs, overwrites or forces what it names" if found else ""
        if found := _found(_GIT_GLOBAL, [argument]):
            return f"`git {found}` changes what Git does"
    return ""


def _python(arguments: Sequence[str]) -> str:
    skip = False
    for i, argument in enumerate(arguments):
        if skip:
            skip = False
        elif argument == "-":
            return "`python -` runs its input"
        elif not argument.startswith("-"):
            return ""
        elif argument.startswith("-m"):
            module = argument[2:] or (arguments[i + 1] if i + 1 < len(arguments) else "")
            known = module.partition(".")[0] in _PYTHON_MODULES
            return f"`python -m {module[:40]}` runs code of its arguments" if known else ""
        elif _found(_PROGRAMS["python"], [argument]):
            return f"`python {argument[:20]}` runs code of its arguments"
        else:
            # An option whose value is the next argument, which is no option then, whatever it begins with.
            skip = (argument[-1] in "WX" and not argument.startswith("--")) or argument == "--check-hash-based-pycs"
    return "" if _only_asks(arguments) else "`python` without a file runs its input"


def _only_asks(arguments: Sequence[str]) -> bool:
    return len(arguments) == 1 and arguments[0] in ("-V", "--version", "-h", "--help")


def _found(tricks: Tricks, arguments: Sequence[str]) -> str:
    for argument in arguments:
        if argument in tricks.words:
            return argument
        if tricks.inside and re.search(tricks.inside, argument):
            return argument[:40]
        if argument == "--":
            # What follows are names, for programs that take options at all. `words` of others, such as find, are not.
            if not tricks.words:
                return ""
        elif argument.startswith("--"):
            name = argument.partition("=")[0]
            if len(name) > 2 and any(each.startswith(name) for each in tricks.long):
                return name
        elif argument.startswith("-") and (letter := _letter(tricks, argument[1:])):
            return f"-{letter}"
    return ""


def _letter(tricks: Tricks, cluster: str) -> str:
    for letter in cluster:
        if letter in tricks.short:
            return letter
        if letter in tricks.takes:
            return ""
    return ""
