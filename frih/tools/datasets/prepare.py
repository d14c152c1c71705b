"""A smaller copy of a data set in iHarmony4's layout, made once, so that training reads small files.

::

    <out>/<subset>/{composite_images,masks,real_images}/     names as in the source, except the suffixes of converted files
    <out>/<subset>/<subset>_{train,test}.txt, IHD_*.txt      the source's lists, written when all files are there
    <out>/prepared_files.jsonl                               settings, and a line for each finished file
    <out>/prepared.json                                      a summary of how the copy was made; written last

The copy holds the files that the lists need. A file that is small enough, upright and in plain colours is copied byte for byte.
The others are resized and converted: images to the chosen format, masks to PNG with their grey borders. A run that was stopped
goes on when it is called again, and it converts files again whose source has changed.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import PIL
from PIL import features

from frih import __version__
from frih.common.errors import UserError
from frih.common.files import write_whole
from frih.common.processes import Map, cores, process_pool
from frih.common.progress import progress_bar
from frih.data.iharmony4 import FOLDERS, PREPARED, PREPARED_FILES, choose_subsets, describe_preparation
from frih.data.images import open_mask, open_rgb
from frih.tools.datasets.shrinking import (
    FILTERS,
    FORMATS,
    QUALITY,
    SIZES,
    SUFFIXES,
    Format,
    Size,
    encode,
    is_plain,
    shrink,
)
from frih.tools.datasets.source import Source
from frih.tools.journal import Entry, Journal

RECIPE = 2
"""Raise it with every change that makes other files."""

_CHUNK = 4


class Prepared(NamedTuple):
    """The result of preparing a copy."""

    out: Path
    summary: str
    """How it was made, in one line."""
    counts: dict[str, dict[str, int]]
    """By subset: the numbers of ``composite_images``, ``masks`` and ``real_images``; how many of these files were converted
    (``written``), not copied; and ``source_bytes`` and ``bytes``."""
    found: int
    """Files that were done before."""
    faults: list[str]
    """The source's faults, file by file. With any of them, the copy is not finished."""


def prepare_dataset(
    root: str | Path,
    out: str | Path,
    *,
    size: Size = "512",
    format: Format | None = None,
    quality: int | None = None,
    link: bool = False,
    workers: int | None = None,
    progress: bool = True,
) -> Prepared:
    """Makes a copy of a data set, or what is missing of it.

    Args:
        root: folder that holds the subsets; nothing is written there.
        out: the copy's folder, for ``data.root``; new or empty, or the folder of an earlier call with the same settings.
        size: of the stored images, see :data:`frih.tools.datasets.shrinking.SIZES`.
        format: of converted images; by default JPEG at sizes 512 and 1024, lossless at the others.
        quality: of JPEG, 1 to 100.
        link: use hard links instead of byte-for-byte copies, if the file system allows them.
        workers: processes; one for each core by default.
        progress: show a progress bar.

    Raises:
        UserError: no data set at the root, or one without lists; or ``out`` is part of it, holds something else, was made with
            other settings, is in use by another run, or cannot be written.
    """
    root, out = Path(root).absolute(), Path(out).absolute()
    settings = _settings(root, size, format, quality)
    subsets = choose_subsets(root, None)
    _refuse_places(root, out, subsets)
    source = Source(root, subsets)
    journal = Journal(out, settings, manifest=PREPARED, journal=PREPARED_FILES, key="files")
    workers = cores() if workers is None else workers
    with journal.held("the copy"), process_pool(workers, chunk=_CHUNK) as each:
        return _complete(source, journal, link, each, progress)


def verify_dataset(out: str | Path, *, workers: int | None = None, progress: bool = True) -> list[str]:
    """Reads every file of a finished copy and names those that are missing or changed.

    Raises:
        UserError: there is no finished copy.
    """
    out = Path(out)
    about = _read_about(out)
    if about is None:
        raise UserError(f"{out}: holds no finished copy; call scripts/prepare.py with the data set's folder as well")
    entries = [json.loads(line) for line in _read_record(out, about).decode("utf-8").splitlines()[1:]]
    tasks = [(path, size, entry["digest"]) for entry in entries for path, size in entry["files"].items()]
    tasks += [(path, size, digest) for path, (size, digest) in about["lists"].items()]
    with process_pool(cores() if workers is None else workers, chunk=_CHUNK) as each:
        results = each(partial(_verify, out), tasks)
        bar = progress_bar(results, desc="verifying", total=len(tasks), unit="file", disable=not progress)
        return [fault for fault in bar if fault]


def describe(prepared: Prepared) -> str:
    """The numbers of files in a copy, and its size beside its source's."""
    width = max(len("all"), *map(len, prepared.counts))
    lines = [
        f"{prepared.out}: {prepared.summary}",
        f"  {'':{width}}  composites   masks  real images  made anew       source         copy",
    ]
    total: Counter[str] = Counter()
    for counts in prepared.counts.values():
        total.update(counts)
    for name, counts in (*prepared.counts.items(), ("all", total)):
        numbers = "{composite_images:12}{masks:8}{real_images:15}{written:11}".format(**counts)
        megabytes = (f"{counts[key] / 1e6:10.1f} MB" for key in ("source_bytes", "bytes"))
        lines.append(f"  {name:{width}}{numbers}{''.join(megabytes)}")
    if prepared.found:
        lines.append(f"  {prepared.found} files were there already")
    return "\n".join(lines)


def _settings(root: Path, size: Size, format: Format | None, quality: int | None) -> dict[str, Any]:
    if size not in SIZES:
        raise UserError(f"size: must be one of {', '.join(SIZES)}, not {size}")
    format = format or FORMATS[size]
    if quality is not None and (format != "jpeg" or not 1 <= quality <= 100):
        raise UserError("quality: is for JPEG only, 1 to 100; WebP and PNG are lossless")
    if format == "webp" and not features.check("webp"):
        raise UserError("format: this Pillow has no WebP; use png")
    return {
        "recipe": RECIPE,
        "source": str(root),
        "size": size,
        "filter": FILTERS[size].name.lower() if size in FILTERS else None,
        "format": format,
        "quality": (quality or QUALITY) if format == "jpeg" else None,
    }


def _refuse_places(root: Path, out: Path, subsets: Sequence[str]) -> None:
    place = out.resolve()
    folders = [(root / subset).resolve() for subset in subsets]
    if place == root.resolve() or any(folder in (place, *place.parents) for folder in folders):
        raise UserError(f"{out}: is the data set or a part of it; give another folder for the copy")


def _complete(source: Source, journal: Journal, link: bool, each: Map, progress: bool) -> Prepared:
    """Makes the missing files; finishes the copy if the source has no fault."""
    out = journal.folder
    about = _read_about(out)
    if about:
        _read_record(out, about)
    known = {entry["source"]: entry for entry in journal.read()}
    gone = [name for name in known if name not in source.wanted]
    if gone and not source.faults:
        raise UserError(
            f"{out}: holds {len(gone)} files that the lists of {source.root} no longer need, as {gone[0]}; "
            "restore the lists, or give another folder"
        )
    done = {name: entry for name, entry in known.items() if name in source.wanted and _is_fresh(source.root, entry)}
    found, faults = len(done), list(source.faults)
    missing = [name for name in source.wanted if name not in done]
    if missing or not about:
        journal.manifest.unlink(missing_ok=True)
        for subset, folder in product(source.subsets, FOLDERS):
            (out / subset / folder).mkdir(parents=True, exist_ok=True)
        with journal.open(known.values()) as add:
            results = each(partial(_prepare, source.root, out, journal.settings, link), missing)
            bar = progress_bar(results, desc="preparing", total=len(missing), unit="file", disable=not progress)
            for result in bar:
                if isinstance(result, str):
                    faults.append(result)
                else:
                    add(result)
                    done[result["source"]] = result
    faults += source.mis_sized(done)
    entries = [done[name] for name in source.wanted if name in done]
    summary, counts = _summary(source, journal.settings, entries), _count(source.subsets, entries)
    if not faults:
        if missing or not about:
            with journal.open(entries):  # one line for each file, in order
                pass
        _finish(source, journal, summary, counts, entries)
    return Prepared(out, summary, counts, found, faults)


def _is_fresh(root: Path, entry: Entry) -> bool:
    """Whether a file's source has not changed since."""
    with suppress(FileNotFoundError):
        stat = (root / entry["source"]).stat()
        return [stat.st_size, stat.st_mtime_ns] == [entry["source_bytes"], entry["source_mtime_ns"]]
    return False


def _prepare(root: Path, out: Path, settings: dict[str, Any], link: bool, name: str) -> Entry | str:
    """Copies or converts one file. Returns its entry, or its fault."""
    source, is_mask = root / name, PurePosixPath(name).parent.name == "masks"
    format: Format = "png" if is_mask else settings["format"]
    try:
        stat = source.stat()
        image = open_mask(source) if is_mask else open_rgb(source)
        small = shrink(image, settings["size"])
        stays = small is image and is_plain(source, is_mask)
        content = source.read_bytes() if stays else encode(small, format, settings["quality"])
    except UserError as error:
        return str(error)
    except Exception as error:  # decoders raise all kinds of errors for damaged files
        return f"{source}: cannot be prepared ({type(error).__name__}: {error}); restore it from its source"
    others = {suffix: str(PurePosixPath(name).with_suffix(suffix)) for suffix in SUFFIXES.values()}
    path = name if stays else others[SUFFIXES[format]]
    for other in {name, *others.values()} - {path}:
        (out / other).unlink(missing_ok=True)  # made of an older source
    if not (stays and link and _link(source, out / path)):
        write_whole(out / path, content)
    return {
        "source": name,
        "source_bytes": stat.st_size,
        "source_mtime_ns": stat.st_mtime_ns,
        "pixels": image.size,
        "written": not stays,
        "files": {path: len(content)},
        "digest": _digest(content),
    }


def _link(source: Path, path: Path) -> bool:
    """Makes a hard link in the copy; False if the file system does not allow it."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        os.link(source.resolve(), part)
        part.replace(path)
    except OSError:
        return False
    finally:
        part.unlink(missing_ok=True)  # replace() leaves it if both are links of one file
    return True


def _count(subsets: Iterable[str], entries: Iterable[Entry]) -> dict[str, dict[str, int]]:
    keys = (*FOLDERS, "written", "source_bytes", "bytes")
    counts = {subset: dict.fromkeys(keys, 0) for subset in subsets}
    for entry in entries:
        subset, folder, _ = entry["source"].split("/")
        counts[subset][folder] += 1
        counts[subset]["written"] += entry["written"]
        counts[subset]["source_bytes"] += entry["source_bytes"]
        counts[subset]["bytes"] += sum(entry["files"].values())
    return counts


def _summary(source: Source, settings: dict[str, Any], entries: Iterable[Entry]) -> str:
    """How the copy was made, in one line; and how its source was, if that is a copy itself."""
    sizes = {"256": "256 x 256", "original": "original size"}
    size = sizes.get(settings["size"], f"size {settings['size']} (longer side)")
    encoder = {"jpeg": f"JPEG {settings['quality']}", "webp": "lossless WebP", "png": "PNG"}[settings["format"]]
    written = [entry["written"] for entry in entries]
    earlier = describe_preparation(source.root)
    return (
        f"prepared at {size}, {encoder}, from {source.root} ({sum(written)} of {len(written)} files made anew, the others as "
        f"they were){earlier and f', which was {earlier}'}"
    )


def _finish(
    source: Source, journal: Journal, summary: str, counts: dict[str, dict[str, int]], entries: Sequence[Entry]
) -> None:
    """Writes the lists and, last, the summary of the copy, unless they are there."""
    lists = source.lists(entries)
    about: dict[str, Any] = {
        "summary": summary,
        "settings": journal.settings,
        "versions": {"frih": __version__, "pillow": PIL.__version__},
        "counts": counts,
        "lists": {path: [len(content), _digest(content)] for path, content in lists.items()},
        "record": _digest(journal.journal.read_bytes()),
    }
    old = _read_about(journal.folder)
    listed = not any(_verify(journal.folder, (path, *listing)) for path, listing in about["lists"].items())
    if listed and old == {**about, "versions": old and old["versions"]}:
        return
    journal.manifest.unlink(missing_ok=True)
    for path, content in lists.items():
        write_whole(journal.folder / path, content)
    write_whole(journal.manifest, json.dumps(about, indent=1) + "\n", durable=True)


def _read_about(out: Path) -> dict[str, Any] | None:
    """The summary of a finished copy; None if it is missing or damaged, so that it is written again."""
    try:
        about: dict[str, Any] = json.loads((out / PREPARED).read_text(encoding="utf-8"))
        return {key: about[key] for key in ("summary", "settings", "versions", "counts", "lists", "record")}
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _read_record(out: Path, about: dict[str, Any]) -> bytes:
    path = out / PREPARED_FILES
    content = path.read_bytes() if path.exists() else b""
    if _digest(content) != about["record"]:
        raise UserError(f"{path}: has changed since it was written; remove the copy and prepare the data set again")
    return content


def _verify(out: Path, task: tuple[str, int, str]) -> str | None:
    """The fault of a file, if it has one."""
    name, size, digest = task
    path = out / name
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return f"{path}: is missing"
    except OSError as error:
        return f"{path}: cannot be read ({error})"
    if len(content) != size:
        return f"{path}: has {len(content)} bytes instead of {size}"
    return None if _digest(content) == digest else f"{path}: has other content"


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
