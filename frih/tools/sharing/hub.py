"""Weights shared in a folder or on the Hugging Face Hub: writing, publishing and loading them.

Such a folder holds ``model.safetensors``, the only file that loading reads, ``config.json`` for people and for the Hub, and
a model card. Loading is strict. The Hub's mixin is not, because it keeps random values for weights that a file lacks, so it
is not used. In place of a path, a repository on the Hub is written ``hf://user/name``. Only the Hub needs the package
``huggingface_hub``.
"""

import json
import tempfile
from pathlib import Path

from frih.common.errors import UserError
from frih.common.files import write_whole
from frih.config import Config
from frih.models import Network
from frih.models.checkpoint import find_checkpoint, load_checkpoint, load_model, rebuild_model
from frih.models.findings import read_findings
from frih.models.locate import download, first_line, locate, open_hub
from frih.models.weights import SHARED_NAME, describe, write_weights
from frih.tools.sharing.model_card import find_evaluations, model_card


def save_pretrained(
    run_or_file: str | Path,
    folder: str | Path,
    *,
    best: bool = False,
    half: bool = False,
    name: str = "USER/NAME",
    limits: Path | None = None,
) -> None:
    """Writes a folder to share: the weights, the configuration, and a model card with the figures of the run's evaluations.

    Args:
        run_or_file: a run, or a checkpoint.
        folder: is made if it does not exist.
        best: take the run's best checkpoint, not its last.
        half: weights in float16.
        name: the repository's name, for the model card.
        limits: ``limits.json``, what ``scripts/limits.py`` has measured of this checkpoint; by default what it has itself.

    Raises:
        UserError: the checkpoint or an evaluation cannot be read; float16 cannot hold the weights; the
            measurement is damaged, or of other weights.
    """
    checkpoint, folder = locate(run_or_file, "best" if best else "last"), Path(folder)
    content = load_checkpoint(checkpoint)
    model, config = rebuild_model(content, checkpoint)
    if limits:
        content["findings"] = read_findings(limits, checkpoint)
    about = describe(content, config, checkpoint, half=half)
    card = model_card(about, find_evaluations(checkpoint, about["step"]), name=name)
    folder.mkdir(parents=True, exist_ok=True)
    write_weights(folder / SHARED_NAME, model.state_dict(), about, half=half)
    write_whole(folder / "config.json", json.dumps(about, indent=2) + "\n")
    write_whole(folder / "README.md", card)


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
) -> str:
    """Publishes a run's weights and model card in the account of ``hf auth login``; returns the repository's address.

    Args:
        run_or_file: a run, or a checkpoint.
        name: ``user/name``; is made if it does not exist.
        best: take the run's best checkpoint, not its last.
        half: weights in float16.
        private: only the owner sees it.
        limits: as :func:`save_pretrained`.

    Raises:
        UserError: as :func:`save_pretrained`; or the Hub refuses, or cannot be reached.
    """
    hub = open_hub()
    with tempfile.TemporaryDirectory() as folder:
        save_pretrained(run_or_file, folder, best=best, half=half, name=name, limits=limits)
        try:
            api = hub.HfApi(library_name="frih")
            address = api.create_repo(name, private=private, exist_ok=True)
            api.upload_folder(repo_id=name, folder_path=folder)
        except Exception as error:  # the Hub's own, and those of its network libraries
            raise UserError(f"{name}: the Hub did not take it: {first_line(error)}") from None
    return str(address)
