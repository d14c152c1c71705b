"""Weights shared in a folder or on the Hugging Face Hub: writing, publishing and loading them.

Such a folder holds ``model.safetensors``, the only file that loading reads, ``config.json`` for people and for the Hub, and
a model card, perhaps with a sheet of images. Loading is strict. The Hub's mixin is not, because it keeps random values for
weights that a file lacks, so it is not used. In place of a path, a repository on the Hub is written ``hf://user/name``. Only
the Hub needs the package ``huggingface_hub``.
"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from frih.common.errors import UserError
from frih.common.files import write_whole
from frih.config import Config
from frih.harmonizing.harmonizer import PRETRAINED
from frih.models import Network
from frih.models.checkpoint import find_checkpoint, load_checkpoint, load_model, rebuild_model
from frih.models.findings import add_findings
from frih.models.locate import download, first_line, locate, open_hub
from frih.models.weights import SHARED_NAME, describe, write_weights
from frih.tools.sharing.examples import write_examples
from frih.tools.sharing.model_card import Facts, find_evaluations, model_card, of_these_weights

EXAMPLES = "images.jpg"
"""The sheet of images in a shared folder."""


class Card(NamedTuple):
    """What people add to a model card."""

    about: Path | None = None
    """A file of Markdown: what the weights were trained on, with the licence of the data."""
    evaluations: Mapping[str, Path] = {}
    """Folders of evaluations of these weights besides those of the run, by the titles of their tables."""
    images: Sequence[Path] = ()
    """Folders of evaluations of these weights from whose images six are shown. They must be free to share."""


def save_pretrained(
    run_or_file: str | Path,
    folder: str | Path,
    *,
    best: bool = False,
    half: bool = False,
    name: str = "USER/NAME",
    limits: Path | None = None,
    card: Card | None = None,
) -> None:
    """Writes a folder to share: the weights, the configuration, and a model card with the figures of the run's evaluations.

    Args:
        run_or_file: a run, or a checkpoint.
        folder: is made if it does not exist.
        best: take the run's best checkpoint, not its last.
        half: weights in float16.
        name: the repository's name, for the model card.
        limits: ``limits.json``, what ``scripts/limits.py`` has measured of this checkpoint; by default what it has itself.
        card: what the model card shall hold besides.

    Raises:
        UserError: the checkpoint, an evaluation or a file of the card cannot be read; an evaluation is of other weights;
            the measurement is damaged, of other weights, or has a ``model.shrink``; float16 cannot hold the weights.
    """
    checkpoint, folder, card = locate(run_or_file, "best" if best else "last"), Path(folder), card or Card()
    content = load_checkpoint(checkpoint)
    if limits:
        before, content = content, add_findings(content, limits, checkpoint)
        if content["config"] != before["config"]:
            raise UserError(
                f"{limits}: found a model.shrink, which makes another network, so no evaluation fits it; export it by --out "
                "FILE.safetensors, measure and evaluate that file, and share it with that measurement"
            )
    model, config = rebuild_model(content, checkpoint)
    about = describe(content, config, checkpoint, half=half)
    evaluations = {**find_evaluations(checkpoint, about["step"]), **of_these_weights(card.evaluations, about)}
    shown = of_these_weights({str(one): one for one in card.images}, about)
    training = _text(card.about) if card.about else ""
    folder.mkdir(parents=True, exist_ok=True)
    if card.images:
        write_examples(card.images, folder / EXAMPLES)
    write_weights(folder / SHARED_NAME, model.state_dict(), about, half=half)
    shipped = folder.resolve() == PRETRAINED.resolve()
    facts = Facts(
        evaluations,
        training,
        (EXAMPLES, tuple(shown.values())) if shown else None,
        "Harmonizer.load()" if shipped else f'Harmonizer.load("hf://{name}")  # or this folder',
        sum(parameter.numel() for parameter in model.parameters()),
        (folder / SHARED_NAME).stat().st_size,
    )
    write_whole(folder / "config.json", json.dumps(about, indent=2) + "\n")
    write_whole(folder / "README.md", model_card(about, facts))


def from_pretrained(name_or_folder: str | Path) -> tuple[Network, Config]:
    """Loads a shared network, in evaluation mode on the CPU.

    Args:
        name_or_folder: ``user/name`` or ``hf://user/name`` on the Hub, also with a revision (``user/name@v1``); or a folder of
            :func:`save_pretrained`.

    Raises:
        UserError: there is no such network, the Hub cannot be reached, or the file is damaged or another program's.
    """
    if Path(name_or_folder).exists():
        return load_model(find_checkpoint(Path(name_or_folder)))
    return load_model(download(str(name_or_folder).removeprefix("hf://")))


def push_to_hub(
    run_or_file: str | Path,
    name: str,
    *,
    best: bool = False,
    half: bool = False,
    private: bool = False,
    limits: Path | None = None,
    card: Card | None = None,
) -> str:
    """Publishes a run's weights and model card in the account of ``hf auth login``; returns the repository's address.

    Args:
        run_or_file: a run, or a checkpoint.
        name: ``user/name``; is made if it does not exist.
        best: take the run's best checkpoint, not its last.
        half: weights in float16.
        private: only the owner sees it.
        limits: as :func:`save_pretrained`.
        card: what the model card shall hold besides.

    Raises:
        UserError: as :func:`save_pretrained`; or the Hub refuses, or cannot be reached.
    """
    hub = open_hub()
    with tempfile.TemporaryDirectory() as folder:
        save_pretrained(run_or_file, folder, best=best, half=half, name=name, limits=limits, card=card)
        try:
            api = hub.HfApi(library_name="frih")
            address = api.create_repo(name, private=private, exist_ok=True)
            api.upload_folder(repo_id=name, folder_path=folder)
        except Exception as error:  # the Hub's own, and those of its network libraries
            raise UserError(f"{name}: the Hub did not take it: {first_line(error)}") from None
    return str(address)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path}: is no text in UTF-8; write what the weights were trained on, in Markdown") from None
