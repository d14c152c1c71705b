"""Weights shared by the Hugging Face Hub, or by a folder: written, published, and found again.

Such a folder holds ``model.safetensors``, which is all that loading reads, ``config.json`` for people and for the Hub, and a
model card. Loading is strict, as everywhere here; therefore these are functions, and not the Hub's mixin, which keeps random
values for weights that a file lacks. Where a path could stand as well, a repository on the Hub is written ``hf://user/name``.
Only what speaks with the Hub needs the package ``huggingface_hub``.
"""

import json
import tempfile
from pathlib import Path

from frih.common.errors import UserError
from frih.common.files import write_whole
from frih.config import Config
from frih.models import FRIH
from frih.models.checkpoint import find_checkpoint, load_checkpoint, load_model, rebuild_model
from frih.models.locate import download, first_line, locate, open_hub
from frih.models.weights import SHARED_NAME, describe, write_weights
from frih.tools.sharing.model_card import find_evaluations, model_card


def save_pretrained(
    run_or_file: str | Path, folder: str | Path, *, best: bool = False, half: bool = False, name: str = "USER/NAME"
) -> None:
    """Writes a folder to be shared: the weights, the configuration, and a model card with the figures of the run's evaluations.

    Args:
        run_or_file: a run, or a checkpoint.
        folder: is made if it is not there.
        best: take the run's best checkpoint, not its last.
        half: weights in float16.
        name: the repository's, for the model card.

    Raises:
        UserError: the checkpoint or an evaluation cannot be read; float16 cannot hold the weights.
    """
    checkpoint, folder = locate(run_or_file, "best" if best else "last"), Path(folder)
    content = load_checkpoint(checkpoint)
    model, config = rebuild_model(content, checkpoint)
    about = describe(content, config, checkpoint, half=half)
    card = model_card(about, find_evaluations(checkpoint, about["step"]), name=name)
    folder.mkdir(parents=True, exist_ok=True)
    write_weights(folder / SHARED_NAME, model.state_dict(), about, half=half)
    write_whole(folder / "config.json", json.dumps(about, indent=2) + "\n")
    write_whole(folder / "README.md", card)


def from_pretrained(name_or_folder: str | Path) -> tuple[FRIH, Config]:
    """Loads a shared network, in evaluation mode on the CPU.

    Args:
        name_or_folder: ``user/name`` or ``hf://user/name`` on the Hub, a revision behind it if wanted (``user/name@v1``); or a
            folder that :func:`save_pretrained` wrote.

    Raises:
        UserError: there is none, the Hub cannot be reached, or the file is damaged or of another program.
    """
    if Path(name_or_folder).exists():
        return load_model(find_checkpoint(Path(name_or_folder)))
    return load_model(download(str(name_or_folder).removeprefix("hf://")))


def push_to_hub(
    run_or_file: str | Path, name: str, *, best: bool = False, half: bool = False, private: bool = False
) -> str:
    """Publishes a run's weights with its model card, in the account that ``hf auth login`` has set up.

    Args:
        run_or_file: a run, or a checkpoint.
        name: ``user/name``; is made if it is not there.
        best: take the run's best checkpoint, not its last.
        half: weights in float16.
        private: make it visible to its owner alone.

    Returns:
        The repository's address.

    Raises:
        UserError: as :func:`save_pretrained`; or the Hub refuses, or cannot be reached.
    """
    hub = open_hub()
    with tempfile.TemporaryDirectory() as folder:
        save_pretrained(run_or_file, folder, best=best, half=half, name=name)
        try:
            address = hub.HfApi(library_name="frih").create_repo(name, private=private, exist_ok=True)
            hub.HfApi(library_name="frih").upload_folder(repo_id=name, folder_path=folder)
        except Exception as error:  # its own, and those of the network libraries below it
            raise UserError(f"{name}: the Hub did not take it: {first_line(error)}") from None
    return str(address)
