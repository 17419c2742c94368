"""`python -m bench [NAME…]`: measure, and print a table; `--json` for machines. Nothing is asserted."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

from bench import table
from bench.catalog import MEASURES, OURS, PEERS, chosen
from bench.machine import conditions, disk_folder, installed
from bench.session import Found, Session


def main() -> int:
    """Measure what was asked for."""
    options = _options()
    try:
        measures = chosen(options.names)
    except KeyError as error:
        known = ", ".join(measure.name for measure in MEASURES)
        print(f"there is no measure {error}; known: {known}", file=sys.stderr)
        return 2
    folder = disk_folder(options.dir)
    folder.mkdir(parents=True, exist_ok=True)
    about: dict[str, Any] = conditions(folder)
    repeat = options.repeat or (1 if options.quick else 5)
    session = Session(folder, repeat, options.quick, options.store, options.peer_python, not options.no_peers)
    versions = installed(options.peer_python, PEERS.values()) if session.peers else {}
    about |= {"repeats": repeat, "quick": options.quick, "store": options.store}
    about |= {
        "peers": ", ".join(f"{name} {versions[package]}" for name, package in PEERS.items() if package in versions)
    }
    found: dict[str, dict[str, Found]] = {}
    try:
        for measure in measures:
            found[measure.name] = session.measure(measure)
    except KeyboardInterrupt:
        print("interrupted: these are the figures so far", file=sys.stderr)
    finally:
        session.close()
    about["load_after"] = os.getloadavg()
    if options.json:
        print(json.dumps({"conditions": about, "measures": _plain(found)}, indent=2))
        return 0
    done = [measure for measure in measures if measure.name in found]
    lines = [row for measure in done for row in table.rows(measure, found[measure.name])]
    notes = [
        f"{measure.name}, {name}: {note}"
        for measure in done
        for name, one in found[measure.name].items()
        for note in one.notes
    ]
    if options.quick:
        notes.append("--quick does less of everything than the labels say")
    table.show(lines, about, notes)
    for measure in done:
        for sample in found[measure.name][OURS].samples:
            if "report" in sample:
                print(f"\n{sample['report']}")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    names = ", ".join(measure.name for measure in MEASURES)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{names}; by default all but profile")
    parser.add_argument("--json", action="store_true", help="print every sample as JSON")
    parser.add_argument("--quick", action="store_true", help="less of everything, once: to see that it works")
    parser.add_argument("--repeat", type=int, default=0, metavar="N", help="repeats of each measurement (5)")
    parser.add_argument("--dir", default="", help="folder on the disk to measure (a temporary folder on a real disk)")
    parser.add_argument("--no-peers", action="store_true", help="measure ours and the floor only")
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter that has the peers installed")
    parser.add_argument("--store", choices=("sqlite", "memory"), default="sqlite", help="memory: the engine alone")
    return parser.parse_args()


def _plain(found: dict[str, dict[str, Found]]) -> dict[str, Any]:
    """Medians and ranges by measure, subject and figure, with every sample."""
    return {
        name: {
            subject: {
                "figures": {
                    figure: {"median": one.median(figure), "min": min(values), "max": max(values)}
                    for figure in (one.samples[0] if one.samples else {})
                    if (values := one.values(figure))
                },
                "samples": one.samples,
                "notes": one.notes,
            }
            for subject, one in subjects.items()
        }
        for name, subjects in found.items()
    }


if __name__ == "__main__":
    sys.exit(main())
