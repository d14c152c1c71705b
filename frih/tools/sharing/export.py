"""A trained network for other programs: as safetensors, as ONNX, or by ``torch.export``.

ONNX and ``torch.export`` files hold one graph with both stages: ``composite`` (B, 3, H, W), ``mask`` (B, 1, H, W) and
``labels`` (B, H, W) uint8 to ``coarse`` and ``refined`` (B, 3, H, W), as in :meth:`frih.models.FRIH.forward`. B and each
image's number of submasks may be any number, also 0; H and W are ``data.size``. :func:`frih.submasks.extract_submasks`
makes the labels outside of the graph. The graph is that of the sparse form, which works where the submasks are.
"""

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from frih.common.errors import UserError, need
from frih.common.files import write_whole
from frih.config import Config
from frih.data.batches import network_input
from frih.data.images import HALF, open_mask, open_rgb
from frih.data.transforms import render, whole
from frih.models import Network
from frih.models.checkpoint import load_checkpoint, load_model, rebuild_model
from frih.models.findings import add_findings
from frih.models.folding import fold_normalization
from frih.models.weights import describe, write_weights
from frih.submasks import extract_submasks

FORMATS = {"safetensors": ".safetensors", "onnx": ".onnx", "torch": ".pt2"}
"""Formats, and the suffixes of their files."""
INPUTS = ("composite", "mask", "labels")
OUTPUTS = ("coarse", "refined")
OPSET = 18
ABOUT = "frih"
"""The entry of a file's metadata that says, in JSON, what it was made from; see :func:`frih.models.weights.describe`."""
TOLERANCE = 1e-4
"""The largest difference, in RGB of [0, 1], of a network that counts as the same: far less than a grey level (4e-3)."""
_MOST_IMAGES = 65535
_ONNX_SINCE = (2, 7)
"""The first PyTorch that converts graphs whose shapes depend on data."""

Arrays = Sequence[np.ndarray]
Runner = Callable[[Arrays], Sequence[np.ndarray]]
"""A network in any form: arrays of :data:`INPUTS` to those of :data:`OUTPUTS`."""


class Difference(NamedTuple):
    """The largest difference between an exported network and the original, in RGB of [0, 1]."""

    coarse: float
    refined: float


def export(
    checkpoint: Path, out: Path, kind: str, *, half: bool = False, limits: Path | None = None
) -> Mapping[str, Any]:
    """Writes a checkpoint's network in another format.

    Args:
        checkpoint: a run's checkpoint, or exported weights.
        out: the file to write, in a folder that exists.
        kind: one of :data:`FORMATS`.
        half: weights in float16, half the size; for safetensors only.
        limits: ``limits.json``, what ``scripts/limits.py`` has measured of this checkpoint; by default what it has itself.

    Returns:
        The file's description (:func:`frih.models.weights.describe`).

    Raises:
        UserError: the checkpoint cannot be read, float16 cannot hold its weights, a package is not installed, or the
            measurement is damaged or of other weights.
    """
    if half and kind != "safetensors":
        raise UserError(f"--half: is for safetensors; {kind} files are float32")
    content = read_content(checkpoint, limits)
    model, config = rebuild_model(content, checkpoint)
    about = describe(content, config, checkpoint, half=half)
    if kind == "safetensors":
        write_weights(out, model.state_dict(), about, half=half)
        return about
    if kind == "onnx":
        need("onnx", "onnxscript", "onnxruntime", extra="export")
        if tuple(map(int, torch.__version__.split(".")[:2])) < _ONNX_SINCE:
            raise UserError(
                f"onnx: torch {torch.__version__} cannot write it; take 2.7 or newer (the file runs without)"
            )
    with _quiet():
        program = trace(model, config.data.size)
        write_whole(out, _to_onnx(program, about) if kind == "onnx" else _to_file(program, about))
    return about


def read_content(checkpoint: Path, limits: Path | None) -> Mapping[str, Any]:
    """What a checkpoint holds, with what was measured of it if ``limits`` names that.

    Raises:
        UserError: as :func:`export`.
    """
    content = load_checkpoint(checkpoint)
    return add_findings(content, limits, checkpoint) if limits else content


def trace(model: Network, size: int) -> ExportedProgram:
    """The network's graph, for any number of images of ``size`` x ``size`` pixels with any number of submasks each."""
    folded = fold_normalization(model).to(memory_format=torch.contiguous_format)
    network = _Stages(folded).eval()
    labels = torch.zeros(2, size, size, dtype=torch.uint8)
    example = torch.zeros(2, 3, size, size), torch.zeros(2, 1, size, size), labels
    with torch.no_grad():
        network(*example)  # computes what depends on the size alone, so that it is a constant of the graph
    batch = Dim("batch", max=_MOST_IMAGES)
    program = torch.export.export(network, example, dynamic_shapes=({0: batch},) * 3, strict=False)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # has file names of this machine
    return program


def open_exported(path: Path, kind: str) -> Runner:
    """An exported network that runs on the CPU. Open your own files only: ``torch.export`` may run code in them."""
    if kind == "onnx":
        need("onnxruntime", extra="export")
        session = import_module("onnxruntime").InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return lambda arrays: session.run(list(OUTPUTS), dict(zip(INPUTS, arrays, strict=True)))
    if kind == "torch":
        with _quiet():
            return _runner(torch.export.load(str(path)).module())
    return _runner(load_model(path)[0])


def check(exported: Runner, model: Network, config: Config, images: Sequence[tuple[Path, Path]] = ()) -> Difference:
    """Compares an exported network with the original.

    Args:
        exported: from :func:`open_exported`.
        model: the original.
        config: its configuration.
        images: pairs of a composite and its mask, taken one by one; without any, a batch of three made images.

    Raises:
        UserError: an image cannot be read.
    """
    original, worst = _runner(model), Difference(0.0, 0.0)
    batches = (read_input(composite, mask, config) for composite, mask in images) if images else [_made(config)]
    for arrays in batches:
        pairs = zip(exported(arrays), original(arrays), strict=True)
        worst = Difference(*(max(a, float(np.abs(x - y).max())) for a, (x, y) in zip(worst, pairs, strict=True)))
    return worst


def read_input(composite: Path, mask: Path, config: Config) -> Arrays:
    """An image and its mask as the network's :data:`INPUTS`, a batch of one.

    Raises:
        UserError: a file cannot be read.
    """
    image, cover = open_rgb(composite), open_mask(mask)
    small = render(image, whole(image), config.data.size)
    return _as_input(small, render(cover, whole(cover), config.data.size), config)


def _as_input(image: np.ndarray, soft_mask: np.ndarray, config: Config) -> Arrays:
    """(H, W, 3) and (H, W) uint8 as a batch of one."""
    labels = extract_submasks(image, soft_mask >= HALF, **config.submasks.without_files.model_dump())
    pixels, cover = torch.from_numpy(image[None]), torch.from_numpy(soft_mask[None])
    composite, mask = network_input(pixels, cover, torch.device("cpu"))
    return composite.numpy(), mask.numpy(), labels[None]


def _made(config: Config) -> Arrays:
    """Three images of coarse noise: with much foreground, with little, and without."""
    size, rng = config.data.size, np.random.default_rng(0)
    batches = []
    for share in (0.75, 0.25, 0.0):
        coarse = rng.integers(256, size=(size // 16, size // 16, 3), dtype=np.uint8)
        mask = np.zeros((size, size), dtype=np.uint8)
        mask[: int(share * size), : int(share * size)] = 255
        batches.append(_as_input(coarse.repeat(16, axis=0).repeat(16, axis=1), mask, config))
    return [np.concatenate(parts) for parts in zip(*batches, strict=True)]


class _Stages(nn.Module):
    """The network with a plain tuple as its result."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, composite: Tensor, mask: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        coarse, refined = self.network(composite, mask, labels)
        return coarse, refined


def _to_file(program: ExportedProgram, about: Mapping[str, Any]) -> bytes:
    memory = io.BytesIO()
    torch.export.save(program, memory, extra_files={f"{ABOUT}.json": json.dumps(about)})
    return memory.getvalue()


def _to_onnx(program: ExportedProgram, about: Mapping[str, Any]) -> bytes:
    onnx = import_module("onnx")
    converted = torch.onnx.export(
        program, dynamo=True, opset_version=OPSET, input_names=INPUTS, output_names=OUTPUTS, verbose=False
    )
    assert converted is not None
    proto = converted.model_proto
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    for node in (*proto.graph.node, *(node for function in proto.functions for node in function.node)):
        del node.metadata_props[:]  # names of source files
    onnx.helper.set_model_props(proto, {ABOUT: json.dumps(about)})
    onnx.checker.check_model(proto, full_check=True)
    content: bytes = proto.SerializeToString()
    return content


def _runner(network: nn.Module) -> Runner:
    def run(arrays: Arrays) -> Sequence[np.ndarray]:
        with torch.no_grad():
            return [result.numpy() for result in network(*map(torch.from_numpy, arrays))]

    return run


@contextmanager
def _quiet() -> Iterator[None]:
    """Hides the exporters' messages to their own developers."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
