"""The model that a configuration describes: the only place where the network meets the configuration."""

import torch

from frih.config import Config
from frih.models.frih import FRIH


def build_model(config: Config) -> FRIH:
    """Builds ``config.model`` with the initial weights that ``config.seed`` draws; the global random state is left alone."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(config.seed)
        return FRIH(end_to_end=config.train.end_to_end, **config.model.model_dump())
