"""The inputs of benchmarks/fuzz.py: how each kind is made from good ones, and what is done with it."""

import argparse
import copy
import io
import json
import random
import shutil
import struct
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from frih.cli import add_arguments, harmonize_files
from frih.common.distributed import World
from frih.common.errors import UserError
from frih.config import Config
from frih.config.recipes import load_config
from frih.data.iharmony4 import read_split
from frih.data.images import open_mask, open_reduced, open_rgb
from frih.harmonizing import own_images
from frih.harmonizing.harmonizer import Harmonizer
from frih.models.checkpoint import load_checkpoint
from frih.models.weights import describe, read_weights, write_weights
from frih.tools.experiments.run_log import latest
from frih.training.logger import RunLogger
from frih.training.runs import resume_run, resumed_config, start_run
from frih.training.trainer import Trainer

ROOT = Path(__file__).parents[1]
TINY = [
    *(f"model.{key}=[4, 4, 4, 4, 4, 4, 4]" for key in ("base_widths", "cascade_widths")),
    *("model.base_decoder_width=4", "model.head_width=4", "submasks.candidates=2", "data.size=128", "data.workers=0"),
    *("train.batch=2", "train.epochs=2", "train.milestones=[1]", "train.device=cpu", "validation.fraction=0"),
    *("validation.images=0", "logging.every=1", "checkpoint.keep_epochs=1"),
]
"""Changes to the default configuration; a step then takes milliseconds."""
KEYS = {f"{section}.{key}" for section, keys in Config().model_dump().items() if isinstance(keys, dict) for key in keys}
NUMBERS = (0, 1, -1, 2, 127, 255, 10**6, 2**31, 2**63, 10**30, 1e-300, 0.5, 1.5, 1e308, float("nan"), float("inf"))
TEXTS = ("", "x", "auto", "/", "..", "é\u0301", "a\nb", "x" * 5000)
VALUES: tuple[Any, ...] = (None, True, [], {}, [[]], {"x": 1}, [1, 2], [-1] * 7, *NUMBERS, *TEXTS)
"""What takes the place of another value."""
DTYPES = (torch.int8, torch.int64, torch.bool, torch.float16, torch.float64, torch.bfloat16, torch.complex64)
MODES = ("RGB", "RGB", "RGBA", "L", "LA", "P", "PA", "CMYK", "1", "I;16", "I", "F", "YCbCr", "LAB", "HSV")
SIZES = ((40, 30), (40, 30), (64, 64), (37, 41), (1, 1), (1, 300), (300, 1), (3, 5000), (20_000, 2), (700, 500))
EXOTIC = ("EPS", "PDF", "PALM", "BUFR", "GRIB", "HDF5", "WMF")
"""Formats that Pillow does not read by itself."""
ODD = "!!python/object:os.system|!!binary|!!set {a}|!x y|? [a]: b|<<: *a|&a [*a]|*a|&a {x: *a}|---|...|%YAML 9|- 1|é|#|@|'|>|~"
BOMB = "&l0 [x, x]\n" + "".join(f"k{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]\n" for i in range(1, 12))
"""YAML of 2 * 9^11 items."""
YAML = (*ODD.split("|"), *"\t\0{[|", "1:30", "0x1F", "1e999", "-.inf", ".NaN", "!!float", "9" * 5000, "[" * 3000, BOMB)
"""What is put into recipes and command lines."""
LINES = ("..", "/", "a_1", "_", "__", "#", "\0", "../../etc/passwd", "Set/masks/p0_1.png", "é_1_1.png", "", "x" * 300)
"""What is put into lists of files."""
REWRITTEN: tuple[Callable[[str], str], ...] = (
    *(" {}\r".format, "/data/{}".format, "C:\\{}".format, "./{}".format, "{}/".format, str.upper),
    *(lambda line: line.replace("/", "\\"), lambda line: line.replace(".png", ".jpg"), lambda line: line[::-1]),
)
"""What becomes of a line of such a list."""


class Base(NamedTuple):
    """The good inputs."""

    folder: Path
    """Of all of them."""
    data: Path
    run: Path
    """It has two epochs, and its last checkpoint is of the end of the first."""
    weights: Path


def own_name(path: Path) -> Iterable[str]:
    """What a refusal must name, of most kinds: the file, its folder, or a key."""
    return path.name, path.parent.name, *KEYS


def own_name_or_image(path: Path) -> Iterable[str]:
    """Of weights: a prediction that is not finite is told by the name of its image."""
    return *own_name(path), "image: "


class Kind(NamedTuple):
    """A kind of input."""

    make: Callable[[random.Random, Base, Path], Path]
    """Makes a case in an empty folder, and gives its file."""
    uses: tuple[Callable[[Path, Base], object], ...]
    """What is done with it. A case that one of them refuses still goes through the others."""
    names: Callable[[Path], Iterable[str]] = own_name
    """One of them must be in the message of a refusal."""


def make_base(folder: Path) -> Base:
    """A data set of six composites, a run on it, and its weights; the same each time."""
    root, names = folder / "data", []
    for number in range(6):
        image, mask = photo((150, 130), "RGB", number), Image.new("L", (150, 130))
        mask.paste(255, (30, 20, 90, 100))
        tinted = Image.composite(image.point(lambda value: value * 0.7), image, mask)
        names.append(f"p{number}_1_1.png")
        stored = {"real_images": (image, f"p{number}.png"), "masks": (mask, f"p{number}_1.png")}
        for kind, (one, name) in {**stored, "composite_images": (tinted, names[-1])}.items():
            (root / "Set" / kind).mkdir(parents=True, exist_ok=True)
            one.save(root / "Set" / kind / name)
    for split, some in (("train", names[:4]), ("test", names[4:])):
        (root / "Set" / f"Set_{split}.txt").write_text("".join(f"{name}\n" for name in some))
    run = folder / "run"
    config = load_config(None, [*TINY, f"data.root={root}", f"run={run}"])
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        start_run(config, World()).fit()
    (run / "checkpoints/epoch-0001.pt").replace(run / "checkpoints/last.pt")
    log = [{"step": step, "train/loss": 1 / step, "train/submask_histogram": [0, 1, 3]} for step in range(1, 5)]
    log.append({"step": 4, "val/All/psnr": 30.5})  # without timings, so that every base is the same
    (run / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in log))
    content, weights = load_checkpoint(run / "checkpoints/last.pt"), folder / "good.safetensors"
    write_weights(weights, content["model"], describe(content, config, run / "checkpoints/last.pt"))
    return Base(folder, root, run, weights)


def photo(size: tuple[int, int], mode: str, seed: int) -> Image.Image:
    """Noise over a gradient, in any of Pillow's modes."""
    pixels = np.random.default_rng(seed).integers(0, 90, (size[1], size[0], 4))
    pixels[..., 0] += np.linspace(0, 160, size[0]).astype(int)
    image = Image.fromarray(pixels.astype(np.uint8))
    if mode in ("I;16", "I", "F"):
        return Image.fromarray((pixels[..., 0] * 257).astype({"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]))
    image = image if "A" in mode and mode != "LAB" else image.convert("RGB")
    return image.convert("P" if mode == "PA" else mode).convert(mode)


def make_image(rng: random.Random, base: Base, folder: Path, *, modes: Sequence[str] = MODES) -> Path:
    """An image of any format and shape, mostly damaged; some have another format's suffix."""
    suffixes = {name: suffix for suffix, name in Image.registered_extensions().items()}
    formats = sorted(set(Image.SAVE) & set(Image.OPEN) & set(suffixes) - set(EXOTIC))
    while True:
        image = photo(rng.choice(SIZES), rng.choice(modes), rng.randrange(1000))
        name = rng.choice((*formats, "JPEG", "PNG", "TIFF", "WEBP"))
        exif = Image.Exif()
        exif.update({0x0112: rng.randrange(10), 0x010F: "maker"})
        exif.get_ifd(0x8769)[0x9003] = "2020:01:01 00:00:00"
        options: dict[str, Any] = {"exif": exif} if rng.random() < 0.4 else {}
        if name == "TIFF":
            options["compression"] = rng.choice((None, "tiff_lzw", "tiff_deflate", "jpeg", "packbits"))
            if options["compression"] == "jpeg" and image.mode not in ("L", "RGB", "CMYK", "YCbCr"):
                continue  # libtiff crashes on others, as on "1", "P" and "I;16"
        if name in ("GIF", "PNG", "TIFF", "WEBP") and rng.random() < 0.2:
            options |= {"save_all": True, "append_images": [image.rotate(180)]}
        memory = io.BytesIO()
        try:
            image.save(memory, name, **options)
            break
        except (OSError, ValueError, KeyError, TypeError, RuntimeError):
            continue  # the format does not take such images
    suffix = suffixes[name] if rng.random() < 0.9 else rng.choice([".jpg", ".png", ".tif"])
    path = folder / f"case{suffix}"
    content, way = memory.getvalue(), rng.random()
    if way < 0.2:
        content = resize(rng, content, image.size)
    elif way < 0.85:
        content = damage(rng, content, (b"Exif", b"eXIf", b"IHDR", b"\xff\xc0"))
    path.write_bytes(content)
    return path


def resize(rng: random.Random, content: bytes, size: tuple[int, int]) -> bytes:
    """An image whose header claims another width or height."""
    for length in rng.sample(size, 2):
        for written in rng.sample(("<H", ">H", "<I", ">I"), 4):
            old, place = struct.pack(written, length), content.find(struct.pack(written, length), 0, 300)
            if place >= 0:
                most = 256 ** len(old) - 1
                new = struct.pack(written, rng.choice((0, 1, length + 1, length * 100 % most, most // 2 + 1, most)))
                return content[:place] + new + content[place + len(old) :]
    return content


def read(path: Path, base: Base) -> None:
    """Reads an image as data sets do."""
    open_rgb(path)
    open_reduced(path, 2)


def read_mask(path: Path, base: Base) -> None:
    """Reads a mask as data sets do."""
    open_mask(path)


def harmonize(path: Path, base: Base) -> None:
    """Harmonizes an image as a program does, and as the command does, which writes it."""
    mask = np.full(own_images.read_image(path).pixels.shape[:2], 255, np.uint8)
    Harmonizer.load(base.weights, "cpu")(path, mask)
    stored = path.with_name("mask.png")
    Image.fromarray(mask).save(stored)
    command(path, stored, base)


def harmonize_by(path: Path, base: Base) -> None:
    """Harmonizes an image by a mask."""
    height, width = own_images.read_mask(path).shape
    image = path.with_name("image.png")
    Image.new("RGB", (width, height), (90, 60, 30)).save(image)
    command(image, path, base)


def command(image: Path, mask: Path, base: Base) -> None:
    """``frih harmonize IMAGE MASK``, whose failures become an error."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    out = image.with_name("out")
    args = parser.parse_args([str(image), str(mask), "-o", str(out), "--compare", "--device", "cpu"])
    args.weights = base.weights
    with redirect_stderr(io.StringIO()) as said:
        status = harmonize_files(args)
    if status:
        assert not out.exists() or not any(out.iterdir()), "it was refused, and yet something was written"
        raise UserError(said.getvalue())
    assert len(list(out.iterdir())) == 2, "nothing was written, and nothing was said"


def make_recipe(rng: random.Random, base: Base, folder: Path) -> Path:
    """A recipe of this project with other text, or a small one with other values."""
    path = folder / "case.yaml"
    if rng.random() < 0.5:
        tree = mutate(rng, load_config(None, TINY).model_dump(mode="json"))
        path.write_text(yaml.safe_dump(tree, allow_unicode=rng.random() < 0.5), encoding="utf-8")
        return path
    source = rng.choice(sorted((ROOT / "configs").rglob("*.yaml")))
    lines = source.read_text(encoding="utf-8").replace("base: ", f"base: {source.parent}/").splitlines()
    for _ in range(rng.choice((1, 1, 2, 4))):
        place, way = rng.randrange(len(lines)), rng.randrange(6)
        if way == 0:
            lines.insert(place, rng.choice((lines[place], *YAML)))
        elif way == 1:
            lines[place] = " " * rng.randrange(4) + lines[place].strip()
        elif way == 2:
            lines[place] = damage(rng, lines[place].encode()).decode(errors="replace")
        else:
            lines[place] = f"{lines[place].partition(':')[0]}: {rng.choice((*YAML, *map(str, NUMBERS)))}"
    text = "\n".join(lines).encode(errors="replace")
    path.write_bytes(damage(rng, text) if rng.random() < 0.2 else text)
    return path


def make_overrides(rng: random.Random, base: Base, folder: Path) -> Path:
    """Some words of a command line, in JSON."""
    words = []
    for _ in range(rng.choice((1, 1, 2, 4))):
        section, name = rng.choice(sorted(KEYS)).split(".")
        text = json.dumps(strange(rng, Config().model_dump(mode="json")[section][name]))
        word = f"{section}.{name}={text}"
        if rng.random() < 0.5:
            key = rng.choice((f"{section}.{name}", section, "run", "seed", "x.y", ""))
            word = f"{key}{rng.choice(('=', '=', '==', ' = ', '.=', ''))}{rng.choice((*YAML, str(rng.choice(VALUES))))}"
        words.append(damage(rng, word.encode()).decode(errors="replace") if rng.random() < 0.2 else word)
    path = folder / "case.json"
    path.write_text(json.dumps(words))
    return path


def use_recipe(path: Path, base: Base) -> None:
    """Reads a recipe and makes the trainer of its run."""
    train(load_config(path), path, base)


def use_overrides(path: Path, base: Base) -> None:
    """The same with a command line."""
    train(load_config(None, [*TINY, *json.loads(path.read_text())]), path, base)


def override_names(path: Path) -> Iterable[str]:
    """The keys of a command line."""
    return (
        "command line",
        *KEYS,
        *(word.partition("=")[0].split(".")[0].strip() for word in json.loads(path.read_text())),
    )


def train(config: Config, path: Path, base: Base) -> None:
    """Makes a run's trainer. What was accepted must mean the same when the run's folder is read."""
    trainer = Trainer(config, World(), path.parent / "run", read_split(base.data, "train"))
    trainer.write_config()
    assert load_config(trainer.run / "config.yaml") == config, "config.yaml means something else than the recipe"


def make_weights(rng: random.Random, base: Base, folder: Path) -> Path:
    """Weights with other bytes, header, tensors or metadata."""
    path, content, way = folder / "case.safetensors", base.weights.read_bytes(), rng.randrange(5)
    if way == 0:
        path.write_bytes(damage(rng, content, (b"frih", b"data_offsets")))
    elif way == 1:
        size = int.from_bytes(content[:8], "little")
        header = json.dumps(mutate(rng, json.loads(content[8 : 8 + size]))).encode()
        path.write_bytes(len(header).to_bytes(8, "little") + header + content[8 + size :])
    else:
        tensors, about = load_file(base.weights), about_weights(base.weights)
        if way == 2:
            about = {**about, **mutate(rng, about)} if rng.random() < 0.7 else mutate(rng, about)
        else:
            for name in rng.sample(sorted(tensors), rng.choice((1, 1, 3, len(tensors)))):
                tensors[name] = strange_tensor(rng, tensors[name])
        few = {name: value.contiguous() for name, value in tensors.items() if value.numel() < 10**6}
        save_file(few, path, {"frih": json.dumps({"format": "weights-1", **about})})
    return path


def about_weights(path: Path) -> dict[str, Any]:
    """The metadata of weights."""
    content = read_weights(path)
    return {"config": json.loads(content["config"]), **content["training"], "versions": content["versions"]}


def use_weights(path: Path, base: Base) -> None:
    """Harmonizes an array of floating point, whose result must be finite."""
    image = np.asarray(photo((60, 50), "RGB", 0), np.float32) / 255
    mask = np.zeros((50, 60), np.uint8)
    mask[10:40, 10:40] = 255
    result = Harmonizer.load(path, "cpu")(image, mask)
    assert np.isfinite(result).all(), "the result is not finite"


def make_checkpoint(rng: random.Random, base: Base, folder: Path) -> Path:
    """A run whose last checkpoint has other bytes or entries."""
    (folder / "checkpoints").mkdir()
    for name in ("config.yaml", "metrics.jsonl"):
        shutil.copy(base.run / name, folder)
    source, path = base.run / "checkpoints/last.pt", folder / "checkpoints/last.pt"
    if rng.random() < 0.25:
        path.write_bytes(damage(rng, source.read_bytes()))
    else:
        content = good_checkpoint(source)
        key = rng.choice((None, "training", "training", "training", "model"))
        torch.save({**content, key: mutate(rng, content[key])} if key else mutate(rng, content), path)
    return path


@cache
def good_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint, read once."""
    return load_checkpoint(path)


def load(path: Path, base: Base) -> None:
    """Takes a checkpoint's network."""
    Harmonizer.load(path, "cpu")


def resume(path: Path, base: Base) -> None:
    """Resumes a run and trains to its end."""
    run = path.parents[1]
    trainer = resume_run(resumed_config(run, []), World(), run)
    assert 0 <= trainer.validated <= trainer.step <= trainer.steps, f"the run goes on from step {trainer.step}"
    trainer.fit()
    assert all(value.isfinite().all() for value in trainer.network.state_dict().values()), "weights are not finite"


def make_list(rng: random.Random, base: Base, folder: Path) -> Path:
    """A copy of the data set whose list of training images, its own or the common one, has other lines or bytes."""
    shutil.copytree(base.data, folder, dirs_exist_ok=True)
    path = folder / "Set/Set_train.txt"
    lines = path.read_text().splitlines()
    if rng.random() < 0.5:
        path.unlink()
        path = folder / "IHD_train.txt"
        lines = [f"Set/composite_images/{line}" for line in lines]
    for _ in range(rng.choice((1, 1, 2, 4))):
        place, way = rng.randrange(len(lines) + 1), rng.randrange(5)
        if way == 0:
            del lines[place : rng.choice((place + 1, len(lines)))]
        elif way == 1:
            lines.insert(place, rng.choice((*LINES, *lines)))
        elif lines:
            place %= len(lines)
            lines[place] = rng.choice(REWRITTEN)(lines[place])
    text = "\n".join(lines).encode(rng.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16")))
    path.write_bytes(damage(rng, text) if rng.random() < 0.3 else text)
    return path


def use_list(path: Path, base: Base) -> None:
    """Lists the training images, all of which must be there."""
    root = path.parent if path.parent.name != "Set" else path.parents[1]
    listing = read_split(root, "train")
    listing.describe()
    lost = [item for item in listing.items for file in (item.composite, item.mask, item.real) if not file.is_file()]
    assert not lost, f"{lost[0].name} is listed and not there"


def make_log(rng: random.Random, base: Base, folder: Path) -> Path:
    """A run's log with other entries, lines or bytes."""
    lines = [json.loads(line) for line in (base.run / "metrics.jsonl").read_text().splitlines()]
    text = "".join(f"{json.dumps(line)}\n" for line in (mutate(rng, lines) if rng.random() < 0.6 else lines))
    path = folder / "metrics.jsonl"
    path.write_bytes(damage(rng, text.encode()) if rng.random() < 0.6 else text.encode())
    return path


def read_log(path: Path, base: Base) -> None:
    """Reads the last figures of a log."""
    latest(path.parent)


def resume_log(path: Path, base: Base) -> None:
    """Goes on with a log from step 2."""
    RunLogger(path.parent, 2, 2).log({"train/loss": 0.5}, 3)


def damage(rng: random.Random, content: bytes, anchors: Sequence[bytes] = ()) -> bytes:
    """Bytes flipped, cut out, put in, doubled or replaced, mostly near the start or after an anchor."""
    data = bytearray(content)
    begins = [0, 0, *(data.find(anchor) for anchor in anchors if anchor in data)]
    for _ in range(rng.choice((1, 1, 1, 2, 10))):
        place = min(len(data), rng.choice(begins) + int(len(data) * rng.random() ** rng.choice((1, 3, 8))))
        length = rng.choice((1, 2, 4, 4, 16, 300))
        end, part = place + length, bytes(data[place : place + length])
        way = rng.randrange(6)
        if way == 0 and part:
            data[place] ^= 1 << rng.randrange(8)
        elif way == 1:
            del data[place : rng.choice((end, end, len(data)))]
        elif way == 2:
            data[place:place] = rng.randbytes(length)
        elif way == 3:
            data[place:place] = part * rng.choice((1, 1, 50))
        else:
            data[place:end] = rng.choice((b"\0", b"\xff", b"\x7f", b"\1", b"\x80"))[:1] * len(part)
    return bytes(data)


def mutate(rng: random.Random, tree: Any) -> Any:
    """A tree of dicts and lists, some of whose entries are removed, renamed or replaced."""
    tree = copy.deepcopy(tree)
    for _ in range(rng.choice((1, 1, 2, 4)) if tree else 0):
        (holder, key), (other, name) = (walk(rng, tree) for _ in range(2))
        way = rng.randrange(8)
        if way == 0 and len(tree) > 1:
            del holder[key]
        elif way == 1 and isinstance(holder, dict):
            holder[rng.choice((f"{key}x", "", 1, "é", str(key).upper()))] = holder.pop(key)
        elif way == 2:
            holder[key] = copy.deepcopy(other[name])
        else:
            holder[key] = strange(rng, holder[key])
    return tree


def walk(rng: random.Random, tree: Any) -> tuple[Any, Any]:
    """A random place in a tree: a dict or list, and a key or index."""
    keys = list(tree) if isinstance(tree, dict) else range(len(tree))
    key = rng.choice(keys)
    inside = tree[key]
    return walk(rng, inside) if isinstance(inside, dict | list) and inside and rng.random() < 0.8 else (tree, key)


def strange(rng: random.Random, value: Any) -> Any:
    """Another value: of another sign, size, shape or type."""
    if isinstance(value, Tensor) and rng.random() < 0.8:
        return strange_tensor(rng, value)
    if isinstance(value, int | float) and rng.random() < 0.8:
        same = [number for number in NUMBERS if isinstance(number, type(value))]
        return rng.choice((-value, value + 1, value * 3, value * 10**6, str(value), [value], *same))
    if isinstance(value, str) and rng.random() < 0.3:
        return damage(rng, value.encode()).decode(errors="replace")
    if isinstance(value, list) and value and rng.random() < 0.5:
        return rng.choice((value[1:], value * 2, value[:1] * 10_000, [*value[:-1], rng.choice(NUMBERS)]))
    return copy.deepcopy(rng.choice(VALUES))


def strange_tensor(rng: random.Random, value: Tensor) -> Tensor:
    """A tensor of other values, shape or type."""
    way = rng.randrange(8)
    if way == 0:
        return value.to(rng.choice(DTYPES))
    if way == 1:
        return rng.choice((value[None], value.flatten(), value.flatten()[1:], value.new_zeros(0), value.new_zeros(())))
    if way == 2:
        return torch.stack([value, value]) if rng.random() < 0.7 else value.new_zeros(1).expand(2**40)
    if way == 3:
        return -value.float()
    result, some = value.double(), torch.Generator().manual_seed(rng.randrange(2**31))
    replaced = torch.rand(value.shape, generator=some) < rng.choice((0.01, 1))
    return result.where(~replaced, rng.choice((0.0, -1.0, 1e30, 1e-30, 6e4, float("nan"), float("inf")))).to(
        value.dtype
    )


KINDS = {
    "images": Kind(make_image, (read, harmonize)),
    "masks": Kind(partial(make_image, modes=("L", "L", "L", *MODES)), (read_mask, harmonize_by)),
    "recipes": Kind(make_recipe, (use_recipe,)),
    "overrides": Kind(make_overrides, (use_overrides,), override_names),
    "weights": Kind(make_weights, (use_weights,), own_name_or_image),
    "checkpoints": Kind(make_checkpoint, (load, resume)),
    "lists": Kind(make_list, (use_list,)),
    "metrics": Kind(make_log, (read_log, resume_log)),
}
