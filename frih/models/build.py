"""The networks that a configuration can name: the only place where a network meets the configuration."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

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


def shapes(config: Config) -> dict[str, Tensor] | None:
    """The names, shapes and types of the weights that :func:`build_model` would make, as tensors without memory.

    None if the network cannot be built so, as one that reads values of tensors while it is built. FRIH always can.

    Raises:
        UserError: as :func:`build_model`.
    """
    try:
        with torch.device("meta"), _Unfilled():
            return build_model(config).state_dict()
    except UserError:
        raise
    except Exception:  # whatever a network does with values that are not there
        return None


class _Unfilled(TorchFunctionMode):
    """Leaves out the random initial values, which take seconds without memory."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return args[0] if func is Tensor.normal_ else func(*args, **(kwargs or {}))


def build_frih(config: Config) -> FRIH:
    """FRIH and its ablations."""
    keys = config.model.model_dump(exclude={"network", "arguments"})
    return FRIH(end_to_end=config.train.end_to_end, **keys)


NETWORKS: dict[str, Callable[[Config], Network]] = {"frih": build_frih}
"""By name: what builds a network of a configuration. Another network takes its arguments from ``config.model.arguments``."""
