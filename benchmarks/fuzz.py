"""Tries damaged and strange inputs: each must work, or be refused by a message that names its file or key.

    python benchmarks/fuzz.py [--cases N] [--kinds images weights ...] [--seed S] [--out FOLDER]

Images, masks, recipes, overrides, weights, checkpoints, lists of files and logs are good ones, changed at random. They go
through the functions that the entry points call. A case that kills its process, or hangs, is a finding; the others go on. --out
keeps the input of each finding, and ``--kinds KIND --seed S --first I --cases 1`` tries it again. With a finding the exit
status is 1.
"""

import argparse
import faulthandler
import io
import multiprocessing
import os
import random
import resource
import shutil
import signal
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from multiprocessing.connection import Connection
from pathlib import Path
from threading import RLock
from typing import Any, NamedTuple

import torch
from fuzz_inputs import KINDS, Base, Kind, make_base
from tqdm import tqdm

from frih.common.errors import UserError, run_command
from frih.common.progress import progress_bar

ROOT = f"{Path(__file__).parents[1]}/"
START = "forkserver"
"""How processes start: each is a copy of one that has imported everything once."""
PRELOADED = ["frih.cli", "frih.training.runs", "frih.tools.experiments.run_log", "torch._dynamo"]


class Limits(NamedTuple):
    """What a case may take."""

    seconds: float = 20
    gibibytes: float = 4


class Verdict(NamedTuple):
    """How a case ended."""

    outcome: str
    """``worked``, ``refused`` or ``wrong``."""
    what: str = ""
    """If it is wrong: the type of the error, and so on."""
    place: str = ""
    """The innermost line of frih/ that the error came through."""
    message: str = ""
    details: str = ""


def main() -> int:
    """Tries all cases and prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=1000, metavar="N", help="of each kind (default: 1000)")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="default: all")
    parser.add_argument("--seed", type=int, default=0, help="of every case, with its kind and number (default: 0)")
    parser.add_argument("--first", type=int, default=0, metavar="I", help="number of the first case (default: 0)")
    parser.add_argument("--seconds", type=float, default=20, help="that a case may take (default: 20)")
    parser.add_argument("--gibibytes", type=float, default=4, help="of memory that a case may take (default: 4)")
    parser.add_argument("--out", type=Path, default=Path("outputs/fuzz"), help="default: outputs/fuzz")
    args = parser.parse_args()
    if args.cases < 1 or args.first < 0:
        raise UserError("--cases: must be 1 or more, and --first 0 or more")
    numbers, limits = range(args.first, args.first + args.cases), Limits(args.seconds, args.gibibytes)
    found: dict[tuple[str, str, str], list[tuple[Path, Verdict]]] = {}
    rows = []
    with tempfile.TemporaryDirectory() as folder, progress_bar(total=args.cases * len(args.kinds), unit="case") as bar:
        base = make_base(Path(folder))
        for name in args.kinds:
            kind, seed, begun = KINDS[name], f"{args.seed}/{name}", time.perf_counter()
            outcomes = Counter[str]()
            for number, verdict in examine(kind, seed, numbers, base, limits):
                outcomes[verdict.outcome] += 1
                if verdict.outcome == "wrong":
                    kept = args.out / name / f"{args.seed}-{number}"
                    keep(kept, kind, f"{seed}/{number}", base, verdict)
                    found.setdefault((name, verdict.what, verdict.place), []).append((kept, verdict))
                bar.update()
            rows.append((name, outcomes, time.perf_counter() - begun))
    print(f"{'kind':12} {'worked':>7} {'refused':>8} {'wrong':>6} {'seconds':>8}")
    for name, outcomes, spent in rows:
        print(f"{name:12} {outcomes['worked']:7} {outcomes['refused']:8} {outcomes['wrong']:6} {spent:8.1f}")
    for (name, what, place), cases in sorted(found.items(), key=lambda group: -len(group[1])):
        kept, verdict = cases[0]
        print(f"\n{len(cases)} x {name}: {what}\n    {place}\n    {kept}\n    {verdict.message[:200]}")
    return 1 if found else 0


def examine(kind: Kind, seed: str, numbers: Sequence[int], base: Base, limits: Limits) -> Iterator[tuple[int, Verdict]]:
    """The number and the verdict of each case. The process that a case has ended is followed by another."""
    log, done = base.folder / "log", 0
    context: Any = multiprocessing.get_context(START)
    if START == "forkserver":
        context.set_forkserver_preload(PRELOADED)
    while done < len(numbers):
        receiver, sender = context.Pipe(duplex=False)
        task = (kind, seed, numbers[done:], base, limits, sender, log)
        child = context.Process(target=work, args=task, daemon=True)
        child.start()
        sender.close()
        try:
            while True:
                verdict = receiver.recv()
                yield numbers[done], verdict
                done += 1
        except EOFError:
            child.join()
        if done < len(numbers):
            yield numbers[done], ended(child.exitcode or 0, log)
            done += 1


def work(
    kind: Kind, seed: str, numbers: Sequence[int], base: Base, limits: Limits, verdicts: Connection, log: Path
) -> None:
    """The work of a process. The log holds what the present case has printed, and where it was when it ended the process."""
    file = log.open("ab", buffering=0)
    for stream in (1, 2):  # which libraries of image formats print to by themselves
        os.dup2(file.fileno(), stream)
    faulthandler.enable(file)
    tqdm.set_lock(RLock())  # its own would outlive a process that is ended
    _limit_memory(limits.gibibytes)
    torch.set_num_threads(1)
    for number in numbers:
        file.truncate(0)
        with tempfile.TemporaryDirectory(dir=base.folder) as folder:
            path = kind.make(random.Random(f"{seed}/{number}"), base, Path(folder))
            faulthandler.dump_traceback_later(limits.seconds, exit=True, file=file)
            verdict = judge(kind, path, base)
            faulthandler.cancel_dump_traceback_later()
        verdicts.send(verdict)


def judge(kind: Kind, path: Path, base: Base) -> Verdict:
    """The verdict of a case. Each use must work, or refuse it by name; and none may leave unfinished files behind."""
    before, verdict = set(path.parent.rglob("*")), Verdict("worked")
    names = [name for name in kind.names(path) if name]
    for use in kind.uses:
        error = _error_of(lambda: use(path, base))  # noqa: B023 (called at once)
        if error is None:
            continue
        if isinstance(error, UserError) or (isinstance(error, OSError) and error.filename is not None):
            if not any(name in str(error) for name in names):
                return _wrong("refused without the name of a file or key", error)
            verdict = Verdict("refused")
        else:
            return _wrong(type(error).__name__, error)
    left = [one.name for one in {*path.parent.rglob("*")} - before if one.name.startswith(".")]
    return Verdict("wrong", "leaves an unfinished file behind", message=left[0]) if left else verdict


def ended(status: int, log: Path) -> Verdict:
    """The verdict of a case that has ended its process, with an exit status or, if negative, by a signal."""
    text = log.read_text(encoding="utf-8", errors="replace")
    how = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
    frames = [line.strip() for line in text.splitlines() if line.startswith("  File ")]  # the innermost is the first
    place = next((frame for frame in frames if f"{ROOT}frih/" in frame), frames[0] if frames else "")
    what = "hangs" if "Timeout (" in text else f"ends the process {how}"
    return Verdict("wrong", what, place.replace(ROOT, ""), details=text)


def keep(folder: Path, kind: Kind, seed: str, base: Base, verdict: Verdict) -> None:
    """Makes a case again, for its use may have changed it, in a folder that stays."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    kind.make(random.Random(seed), base, folder)
    (folder / "finding.txt").write_text(f"{verdict.what}\n{verdict.place}\n\n{verdict.details}", encoding="utf-8")


def _limit_memory(gibibytes: float) -> None:
    """Lets this process take so much more memory than it has. Only Linux tells how much that is."""
    statistics = Path("/proc/self/statm")
    if statistics.exists():
        held = int(statistics.read_text().split()[0]) * resource.getpagesize()
        most = held + int(gibibytes * 2**30)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _error_of(call: Callable[[], object]) -> BaseException | None:
    """What a call raises, if anything; libraries written in Rust raise what is no Exception."""
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            call()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return error
    return None


def _wrong(what: str, error: BaseException) -> Verdict:
    frames = traceback.extract_tb(error.__traceback__)
    frame = next((one for one in reversed(frames) if one.filename.startswith(f"{ROOT}frih/")), frames[-1])
    place = f"{frame.filename.replace(ROOT, '')}:{frame.lineno} {frame.name}"
    message = " ".join(str(error).split())
    return Verdict("wrong", what, place, message, "".join(traceback.format_exception(error)))


if __name__ == "__main__":
    run_command(main)
