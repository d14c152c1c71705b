"""The networks that a configuration can name: the only place where a network meets the configuration."""

from collections.abc import Callable

import torch

from frih.common.errors import UserError, did_you_mean
from frih.config import Config
from frih.models.frih import FRIH
from frih.models.network import Network


def build_model(config: Config) -> Network:
    """Builds ``config.model`` with the initial weights that ``config.seed`` draws; the global random state is left alone.

    Raises:
        UserError: there is no network of that name, or it does not take these arguments.
    """
    name = config.model.network
    if name not in NETWORKS:
        raise UserError(f"model.network: there is no network {name}{did_you_mean(name, NETWORKS)}")
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(config.seed)
        return NETWORKS[name](config)


def build_frih(config: Config) -> FRIH:
    """FRIH and its ablations."""
    keys = config.model.model_dump(exclude={"network", "arguments"})
    return FRIH(end_to_end=config.train.end_to_end, **keys)


NETWORKS: dict[str, Callable[[Config], Network]] = {"frih": build_frih}
"""By name: what builds a network of a configuration. Another network takes its arguments from ``config.model.arguments``."""
