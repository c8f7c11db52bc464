"""`python -m tests.faults [COMMAND ...]`: let writes of commands fail, and list broken promises."""

import argparse
import dataclasses
import json
import random
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.faults.commands import COMMANDS, SMALLEST, Command
from tests.faults.forks import Forks
from tests.faults.plan import every, outages, seeded, sites
from tests.faults.shim import Call, Fault
from tests.faults.trial import BrokenError, Ground

PLANS = ("sites", "seeded", "every", "outages")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("commands", nargs="*", help=f"of {', '.join(COMMANDS)}; default all")
    parser.add_argument("--plan", nargs="*", default=list(PLANS), choices=PLANS)
    parser.add_argument(
        "--count",
        type=int,
        default=100,
        help="seeded faults of a command; half as many outages of each kind",
    )
    parser.add_argument("--seed", type=int, default=0, help="of these, and of the order")
    parser.add_argument("--seconds", type=float, default=2700, help="begin no case after these")
    parser.add_argument("--part", default="1/1", help="as in 2/3: every third, from the second")
    parser.add_argument("--log", type=Path, help="a line of JSON for every case")
    parser.add_argument("--again", type=Path, nargs="*", help="only what is broken in such logs")
    return parser.parse_args()


def planned(options: argparse.Namespace, ground: Ground) -> Iterator[tuple[str, Command, Fault]]:
    """Cases by the name of their command and plan."""
    if options.again:
        yield from broken(options.again)
        return
    names = options.commands or COMMANDS
    for name in names if {"sites", "seeded"} & {*options.plan} else ():
        command = COMMANDS[name]
        calls = ground.recorded(command).calls
        print(f"{name}: {len(calls)} calls, {distinct(calls)} of distinct site and kind of file")
        if "sites" in options.plan:
            yield from ((f"{name} sites", command, fault) for fault in sites(calls))
        if "seeded" in options.plan:
            some = seeded(calls, options.count, options.seed)
            yield from ((f"{name} seeded", command, fault) for fault in some)
    if "outages" in options.plan:
        for name, fault in outages(ground.count, names, options.count // 2, options.seed):
            yield f"{name} outages", COMMANDS[name], fault
    if "every" in options.plan and "study" in (options.commands or COMMANDS):
        calls = ground.recorded(SMALLEST).calls
        print(f"smallest study: {len(calls)} calls")
        yield from (("study every", SMALLEST, fault) for fault in every(calls))


def broken(logs: Iterable[Path]) -> Iterator[tuple[str, Command, Fault]]:
    """Cases that logs say to be broken."""
    fields = [field.name for field in dataclasses.fields(Fault)]
    for line in (line for log in logs for line in log.read_text().splitlines()):
        case = json.loads(line)
        if "broken" in case:
            name = case["case"]
            command = SMALLEST if name == "study every" else COMMANDS[name.partition(" ")[0]]
            yield name, command, Fault(**{field: case[field] for field in fields})


def distinct(calls: tuple[Call, ...]) -> int:
    """Number of pairs of call site and kind of file."""
    return len({(call.site, call.kind) for call in calls})


def main() -> None:
    """Try, and tell."""
    options = arguments()
    part, parts = map(int, options.part.split("/"))
    tried = killed = missed = failed = 0
    with TemporaryDirectory() as folder:
        forks = Forks(Path(folder))
        ground = Ground(forks, Path(folder))
        cases = list(planned(options, ground))
        end = time.monotonic() + options.seconds
        random.Random(options.seed).shuffle(cases)  # what time permits is then a fair sample
        for name, command, fault in islice(cases, part - 1, None, parts):
            if time.monotonic() > end:
                print("time is up")
                break
            outcome, line = {"case": name, **fault.json()}, ""
            try:
                case = ground.disturb(command, fault)
                missed += case.struck is None
                killed += case.code == -9
                outcome |= {"code": case.code, "line": case.line, "struck": bool(case.struck)}
            except BrokenError as error:
                failed += 1
                line = f"BROKEN {name} {fault.json()}\n{error}\n"
                outcome |= {"broken": str(error)}
            tried += 1
            print(line, end="", flush=True)
            if options.log:
                with options.log.open("a") as log:
                    log.write(json.dumps(outcome) + "\n")
        forks.close()
    print(f"{tried} cases, {killed} deaths, {missed} never came to their call, {failed} broken")


if __name__ == "__main__":
    main()
