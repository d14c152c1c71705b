"""Checks a data set: reads every file once and names all faults, where training would stop at the first.

A finding is an error if training or evaluation would stop or go wrong; otherwise it is a remark.
:data:`~frih.tools.datasets.check_report.KINDS` lists all kinds of findings; docs/data.md says what each means.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

from frih.common.errors import UserError
from frih.common.files import write_whole
from frih.common.processes import cores
from frih.common.wording import counted
from frih.data.iharmony4 import FOLDERS, SPLITS, choose_subsets, halves
from frih.data.lists import read_entries, read_lines, why_nothing
from frih.tools.datasets.check_files import check_files
from frih.tools.datasets.check_report import KINDS, Finding, Report
from frih.tools.datasets.check_subset import CheckedSubset, without_path


def check_dataset(
    root: str | Path,
    subsets: Sequence[str] | None = None,
    *,
    size: int = 256,
    workers: int | None = None,
    progress: bool = True,
) -> Report:
    """Reads every file of a data set in iHarmony4's layout and collects all faults.

    The findings do not depend on the number of workers.

    Args:
        root: folder that holds the subsets.
        subsets: names of the subsets to check; all by default.
        size: the network's, at which masks are checked as well.
        workers: processes that read; one for each core by default. 0 and 1 read in this process.
        progress: show a progress bar.

    Raises:
        UserError: there is no data set at the root, or an unknown subset.
    """
    root = Path(root)
    chosen = [CheckedSubset(root, name) for name in choose_subsets(root, subsets)]
    found = {*_check_common_lists(root), *_check_absent_lists(chosen), *_check_empty_lists(chosen, bool(subsets))}
    found.update(_check_halves(root) if subsets is None else ())
    found.update(*(subset.findings for subset in chosen))
    found.update(check_files(root, chosen, size, cores() if workers is None else workers, progress))
    order = list(KINDS)
    findings = sorted(found, key=lambda finding: (order.index(finding.kind), finding[1:]))
    files = {subset.name: {folder: len(subset.files[folder]) for folder in FOLDERS} for subset in chosen}
    return Report(str(root), size, {subset.name: subset.splits for subset in chosen}, files, findings)


def write_lists(root: str | Path) -> list[Path]:
    """Writes the missing list files that can be made from others, and returns them. It overwrites nothing.

    A subset's own list is made from the common one, ``IHD_<split>.txt``; that is made from the own lists of all subsets.

    Raises:
        UserError: there is no data set at the root, a list cannot be read, or a list cannot be written.
    """
    root = Path(root)
    subsets = choose_subsets(root, None)
    written = []
    for split in SPLITS:
        common = root / f"IHD_{split}.txt"
        own = {subset: root / subset / f"{subset}_{split}.txt" for subset in subsets}
        if common.is_file():
            entries = read_entries(common, subsets)
            for subset, path in own.items():
                names = [name for folder, name in entries if folder == subset]
                if names and not path.exists():
                    written.append(_write(path, "".join(f"{name}\n" for name in names)))
        elif not common.exists() and all(path.is_file() for path in own.values()):
            names = [
                f"{subset}/composite_images/{PurePosixPath(line).name}\n"
                for subset in subsets
                for line in read_lines(own[subset])
            ]
            written.append(_write(common, "".join(names)))
    return written


def write_report(report: Report, path: Path) -> None:
    """Writes a report as JSON.

    Raises:
        UserError: it cannot be written there.
    """
    _write(path, report.to_json())


def _check_common_lists(root: Path) -> Iterator[Finding]:
    for split in SPLITS:
        path = root / f"IHD_{split}.txt"
        if not path.is_file():
            continue
        try:
            folders = Counter(folder for folder, _ in read_entries(path, choose_subsets(root, None)))
        except UserError as error:
            yield Finding("list-unreadable", path.name, without_path(error, path), True)
            continue
        for folder, count in folders.items():
            if not (root / folder / "composite_images").is_dir() or not folder:
                where = f"of {folder}, which is not in the root" if folder else "without a subset"
                yield Finding("list-strangers", path.name, f"{counted(count, 'line')} {where}; not used", False)


def _check_halves(root: Path) -> Iterator[Finding]:
    """Folders that would be subsets if they had composites; training does not use them."""
    for name in halves(root):
        yield Finding("folder-missing", f"{name}/{FOLDERS[0]}", "is not there, so the subset is left out", True)


def _check_empty_lists(subsets: Sequence[CheckedSubset], wanted: bool) -> Iterator[Finding]:
    """A list that names nothing of a subset stops training if the subset is asked for, or no other has a composite."""
    for split in SPLITS:
        useless = not any(subset.splits[split].names for subset in subsets)
        for subset in subsets:
            names, source = subset.splits[split]
            if source and not names:
                with suppress(UserError):  # that it cannot be read is a finding of its own
                    yield Finding(
                        "list-empty", source, why_nothing(subset.root / source, subset.name), wanted or useless
                    )


def _check_absent_lists(subsets: Sequence[CheckedSubset]) -> Iterator[Finding]:
    """A missing list stops training; it is only a remark if the root has the other split alone and no other files."""
    for split in SPLITS:
        present = any(subset.splits[split].source for subset in subsets)
        for subset in subsets:
            if subset.splits[split].source:
                continue
            named = {name for found in subset.splits.values() for name in found.names}
            unlisted = len(subset.files["composite_images"] - named)
            own = f"{subset.name}/{subset.name}_{split}.txt"
            message = f"is not there, nor IHD_{split}.txt; {counted(unlisted, 'composite')} in no list"
            yield Finding("list-missing", own, message, present or not subset.listed or unlisted > 0)


def _write(path: Path, text: str) -> Path:
    try:
        write_whole(path, text, durable=True)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror or error}); choose another place, or make this one writable"
        ) from None
    return path
