"""Which composites train, and which are held out for validation: a share of the real images, or those of a list."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from frih.common.errors import UserError
from frih.common.wording import counted
from frih.config import Config
from frih.data.iharmony4 import Item, Listing, choose_subsets, in_drawn_order, match_files, read_split, split_validation
from frih.data.lists import read_entries


def with_held_out(listing: Listing, config: Config) -> Listing:
    """Adds the composites of ``validation.list`` to the listing of the training split.

    Raises:
        UserError: as :func:`read_list`; or nothing is left to train on.
    """
    wanted = config.validation.list
    if wanted is None:
        return listing
    held_out = read_list(wanted, config)
    listing = listing._replace(held_out=held_out.items)
    training, _ = divide(listing, config)
    if not training:
        raise UserError(
            f"validation.list: {wanted} names every real image of the training split; leave some to train on"
        )
    named = {(item.subset, item.composite_name) for item in held_out.items}
    others = sum((item.subset, item.composite_name) not in named for item in listing.items) - len(training)
    remark = f"{counted(len(held_out.items), 'composite')} of {wanted} held out for validation"
    if others:
        remark += f", {counted(others, 'other')} of their real images left out of training"
    return listing._replace(unused=(*listing.unused, remark, *held_out.unused))


def read_list(wanted: str, config: Config) -> Listing:
    """The composites of ``validation.list``.

    Args:
        wanted: a word, as ``val``, is a split with lists in the dataset. Anything else is a file, whose lines are
            ``SUBSET/composite_images/X_M_K.jpg``, or ``X_M_K.jpg`` where only one subset has a composite of that name.
        config: names the dataset and its subsets. Lines for others are not used.

    Raises:
        UserError: there is no such list, it names no composite, or one that is missing, or a name that fits several subsets.
    """
    try:
        if re.fullmatch(r"[\w-]+", wanted):
            return read_split(config.data.root, wanted, config.data.subsets)
        return _read_file(Path(wanted), Path(str(config.data.root)), config)
    except UserError as error:
        raise UserError(f"validation.list: {error}") from None


def divide(listing: Listing, config: Config) -> tuple[list[Item], list[Item]]:
    """Divides a listing into (training, validation), with no real image in both; ``data.share`` of the first."""
    if listing.held_out is None:
        training, held_out = split_validation(listing.items, config.validation.fraction, config.seed)
    else:
        seen = {item.real_name for item in listing.held_out}  # subsets may share photos, by name
        training, held_out = [item for item in listing.items if item.real_name not in seen], listing.held_out
    return thinned(training, config.data.share, config.seed), held_out


def thinned(items: Sequence[Item], share: float, seed: int) -> list[Item]:
    """The composites of a share of the real images, at least of one. A larger share adds to those of a smaller one."""
    reals = sorted({item.real_name for item in items})
    taken = set(in_drawn_order(reals, f"{seed}/share")[: max(1, round(share * len(reals)))])
    return [item for item in items if item.real_name in taken]


def _read_file(path: Path, root: Path, config: Config) -> Listing:
    subsets = choose_subsets(root, config.data.subsets)
    if not path.is_file():
        there = f", or {root / path}, which is there" if not path.is_absolute() and (root / path).is_file() else ""
        raise UserError(f"{path}: no such file; give a list of composites{there}, or a split of the dataset, as val")
    names: dict[str, list[str]] = {subset: [] for subset in subsets}
    strangers: Counter[str] = Counter()
    for subset, name in read_entries(path, subsets):
        subset = subset or _subset_of(name, path, root, subsets)
        if subset in names:
            names[subset].append(name)
        else:
            strangers[subset] += 1
    items: list[Item] = []
    for subset in (one for one in subsets if names[one]):
        found, faults = match_files(root, subset, names[subset])
        if faults:
            more = f" (and {len(faults) - 3} more)" if len(faults) > 3 else ""
            raise UserError(f"{path}: {'; '.join(faults[:3])}{more}; restore the files or take the lines out")
        items += found
    unused = tuple(f"{path.name}: {counted(number, 'line')} for {one} not used" for one, number in strangers.items())
    if not items:
        raise UserError(f"{path}: names no composite of {', '.join(subsets)}" + "".join(f"; {one}" for one in unused))
    return Listing(items, [path], unused)


def _subset_of(name: str, path: Path, root: Path, subsets: list[str]) -> str:
    """The subset that has a composite of a name."""
    if len(subsets) == 1:
        return subsets[0]
    found = [subset for subset in subsets if (root / subset / "composite_images" / name).exists()]
    if len(found) == 1:
        return found[0]
    problem = f"is in {' and '.join(found)}" if found else f"is in none of {', '.join(subsets)}"
    raise UserError(f"{path}: {name} {problem}; write it as SUBSET/composite_images/{name}")
