"""The findings of a data set's check, as text and as JSON."""

import json
from collections.abc import Iterator
from typing import NamedTuple

from frih.common.wording import counted
from frih.data.iharmony4 import COMPOSITES, FOLDERS, SPLITS

KINDS = {
    "list-missing": "no list of a split",
    "list-unreadable": "lists that cannot be read",
    "list-empty": "lists without a composite",
    "list-differs": "a subset's own list and the common one differ",
    "list-strangers": "the common list names subsets that are not in the root",
    "name": "composites not named X_M_K.jpg",
    "twice": "composites named twice by one list",
    "in-both-lists": "composites in the lists of both splits",
    "photo-in-both": "real images in both splits",
    "count": "not as many composites as iHarmony4 has",
    "folder-missing": "folders that are missing, empty or cannot be read",
    "missing": "files that a list needs but that are not there",
    "ambiguous": "several files where one is needed",
    "orphan": "files that no list needs",
    "unreadable": "files that are truncated, damaged or no images",
    "mode": "images with unsuitable pixels",
    "mask-0-1": "masks of 0 and 1 instead of 0 and 255",
    "mask-labels": "masks whose values do not reach foreground",
    "mask-coloured": "coloured images in place of masks",
    "size": "masks and real images not of their composite's size",
    "masks-elsewhere": "subsets with nearly all masks elsewhere",
    "mask-elsewhere": "composites that differ from their real image elsewhere than in the mask",
    "no-foreground": "splits without any foreground",
    "mask-empty": "masks without foreground",
    "mask-vanishes": "masks without foreground at the network's size",
    "mask-grey": "masks with grey values",
    "greyscale": "images without colour",
}
"""Every kind of finding, in the order of the report."""

_SHOWN = 3


class Finding(NamedTuple):
    """A fault, or something worth knowing."""

    kind: str
    """A key of :data:`KINDS`."""
    path: str
    """The file or folder, below the root."""
    message: str
    error: bool
    """Whether training or evaluation would stop or go wrong; otherwise this is a remark."""


class Split(NamedTuple):
    """The list of one split of one subset."""

    names: list[str]
    """Of the composites, each once."""
    source: str | None
    """The list that was used, below the root; None if there is none."""


class Report(NamedTuple):
    """The findings of a data set, and its numbers of files."""

    root: str
    size: int
    splits: dict[str, dict[str, Split]]
    """By subset, then by ``"train"`` and ``"test"``."""
    files: dict[str, dict[str, int]]
    """Numbers of files, by subset and folder."""
    findings: list[Finding]

    @property
    def errors(self) -> int:
        """The number of findings that are errors."""
        return sum(finding.error for finding in self.findings)

    def describe(self) -> str:
        """The counts, the lists that were used, and the first few findings of each kind."""
        lines = [*self._table(), *self._lists(), *self._kinds(error=True), *self._kinds(error=False), self._end()]
        return "\n".join(lines).encode("utf-8", "backslashreplace").decode()  # file names need not be valid text

    def to_json(self) -> str:
        """The whole report, with every finding."""
        subsets = {
            subset: {
                "files": self.files[subset],
                **{
                    name: {"list": split.source, "composites": len(split.names), "published": published(subset, name)}
                    for name, split in splits.items()
                },
            }
            for subset, splits in self.splits.items()
        }
        findings = [finding._asdict() for finding in self.findings]
        head = {"root": self.root, "size": self.size, "errors": self.errors, "remarks": len(findings) - self.errors}
        return json.dumps({**head, "subsets": subsets, "findings": findings}, indent=1) + "\n"

    def _table(self) -> Iterator[str]:
        width = max(len("all"), *map(len, self.splits))
        yield f"{self.root}, masks also checked at {self.size} x {self.size}:"
        yield f"  {'listed':{width}}  {'train':>14}  {'test':>14}    files: composites, masks, real images"
        for subset, splits in self.splits.items():
            cells = "  ".join(f"{_of_published(subset, name, split):>14}" for name, split in splits.items())
            files = ", ".join(str(self.files[subset][folder]) for folder in FOLDERS)
            yield f"  {subset:{width}}  {cells}    {files}"
        totals = [sum(len(splits[name].names) for splits in self.splits.values()) for name in SPLITS]
        yield f"  {'all':{width}}  {totals[0]:>14}  {totals[1]:>14}"

    def _lists(self) -> Iterator[str]:
        for name in SPLITS:
            sources = dict.fromkeys(splits[name].source or "none" for splits in self.splits.values())
            yield f"lists of the {name} split: {', '.join(sources)}"

    def _kinds(self, *, error: bool) -> Iterator[str]:
        for kind, title in KINDS.items():
            chosen = [finding for finding in self.findings if finding.kind == kind and finding.error == error]
            if chosen:
                yield f"{'error' if error else 'remark'}: {title} ({kind}): {len(chosen)}"
                yield from (f"    {finding.path}: {finding.message}" for finding in chosen[:_SHOWN])
            if len(chosen) > _SHOWN:
                yield f"    ... and {len(chosen) - _SHOWN} more"

    def _end(self) -> str:
        return f"{counted(self.errors, 'error')}, {counted(len(self.findings) - self.errors, 'remark')}"


def published(subset: str, split: str) -> int | None:
    """The number of iHarmony4's composites in a split of a subset; None if it has no such subset."""
    return COMPOSITES.get(subset, {}).get(split)


def _of_published(subset: str, name: str, split: Split) -> str:
    whole = published(subset, name)
    return f"{len(split.names) if split.source else '-'}{'' if whole is None else f' of {whole}'}"
