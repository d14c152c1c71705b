"""What can be configured: every key, its meaning and its default, in one place.

A recipe (``configs/*.yaml``) states only the keys whose values differ; :mod:`frih.config.recipes` reads recipes. An unknown key
or a value of another type is an error, so a mistyped recipe never trains. Values that the paper states are the defaults.
``docs/decisions.md`` names the defaults that fill a gap in the paper.
"""

import re
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, model_validator

from frih.common.paths import at_home
from frih.config.protocols import DEFAULT, METRICS, PROTOCOLS

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Decay = Annotated[float, Field(ge=0, lt=1)]
Rate = Annotated[float, Field(gt=0, le=1e6)]
Ratio = Annotated[float, Field(ge=0.01, le=100)]
Epochs = Annotated[int, Field(ge=1, le=10**6)]
Count = Annotated[int, Field(ge=1, le=10**9)]
Images = Annotated[int, Field(ge=1, le=2**16)]
Levels = Annotated[float, Field(ge=0, le=255)]
MOST_GIVEN = 32
"""The largest label of submasks that are given as files."""
Ramp = tuple[Levels, Levels, Annotated[float, Field(gt=0, le=2)]]
"""``[low, full, most]`` of ``model.shrink``."""
Pixels = Annotated[int, Field(ge=1, le=2**26)]
Width = Annotated[int, Field(ge=1, le=2048)]
Layers = Annotated[tuple[Width, ...], Field(min_length=7, max_length=7)]
Text = Annotated[str, Field(min_length=1)]
FilePath = Annotated[str, Field(min_length=1), AfterValidator(at_home)]
"""A file or folder. ``~`` and ``~user`` at its start are home folders."""


def _device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|(cuda|xpu)(:\d{1,3})?", name):
        raise ValueError(f"there is no device {name!r}: take auto, cpu, cuda, cuda:1, xpu or mps")
    return name


DeviceName = Annotated[str, AfterValidator(_device)]
"""As PyTorch names devices, or ``auto``."""


class Section(BaseModel):
    """A group of keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    def __hash__(self) -> int:
        return hash(self.model_dump_json())  # a field may be a dict


class DataConfig(Section):
    """Which images are read, and how."""

    root: FilePath | None = None
    """Folder of a dataset in iHarmony4's layout. Recipes leave it to the command line: ``data.root=/datasets/iHarmony4``."""
    subsets: tuple[Text, ...] | None = None
    """Sub-datasets to use, by folder name. Unset: all that the root holds."""
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Training: share of the real images that are used, with all their composites; validation holds out its own first."""
    size: Annotated[int, Field(ge=128, le=8192, multiple_of=128)] = 256
    """Side in pixels to which every image is resized; the network halves it seven times."""
    crop_scale: tuple[Share, Share] = (0.5, 1.0)
    """Training: least and most share of the image's area that the random box covers."""
    crop_ratio: tuple[Ratio, Ratio] = (0.75, 4 / 3)
    """Training: least and most ratio of the random box's width to its height."""
    flip: Share = 0.5
    """Training: probability of a horizontal flip."""
    keep_empty_box: Share = 0.05
    """Training: share of the boxes that may miss the foreground. The others are drawn again until they hold some of it."""
    draft: bool = True
    """Training: decode a JPEG at a reduced size if its box still has twice ``size`` in both directions."""
    online: Share = 0.0
    """Training: share of the composites that are made anew each time: the object takes the colours of an object of another
    image; see docs/data.md. Where no such object gives a usable composite, the stored composite is taken."""
    regions: Annotated[int, Field(ge=0, le=8)] = 0
    """Training: of every fifth object that ``online`` restyles, this many colour regions each take the colours of another
    object. Then no single correction is right for the whole foreground. 0 and 1: off, as in all published data sets."""
    unchanged: Share = 0.0
    """Training: share of the composites that are replaced by the real image, so that the network learns to leave alone what
    already fits. The paper has none."""
    label_cache: FilePath | None = None
    """Folder that keeps the submasks of whole images, so that validation and evaluation find them only once."""
    workers: Annotated[int, Field(ge=0, le=1024)] = 4
    """Loader processes for each training process, at most one for each CPU core. 0: load in the training process."""

    @model_validator(mode="after")
    def _ranges_ascend(self) -> "DataConfig":
        for key in ("crop_scale", "crop_ratio"):
            low, high = getattr(self, key)
            if low > high:
                raise ValueError(f"{key} takes [least, most], not [{low}, {high}]")
        if self.crop_scale[0] <= 0:
            raise ValueError("crop_scale starts above 0: a box must cover something")
        return self


class SubmaskConfig(Section):
    """How the foreground is divided (the paper's *Submask Extraction*)."""

    method: Literal["cfsfdp", "gamma", "kmeans", "random", "whole", "given"] = "cfsfdp"
    """How the foreground is clustered by colour. ``cfsfdp``: density peaks; the peaks of highest delta are the centres, as in
    the paper. ``gamma``: the peaks of highest density times delta, the rule of Rodriguez and Laio. ``kmeans``: k-means.
    ``random``: not by colour but by place, nearest to pixels drawn at random, as a control. ``whole``: the mask is the only
    submask (*Cascade Globalmask*). ``given``: as files in the data set's ``submasks/`` folders say (:mod:`frih.data.given`);
    composites that ``data.online`` makes have those of the stored one."""
    cutoff: Annotated[float, Field(gt=0, le=1)] = 0.1
    """The cutoff distance d_c of equation 1, for RGB in [0, 1]."""
    candidates: Annotated[int, Field(ge=1, le=255)] = 10
    """``cfsfdp`` and ``gamma``: number of colours of highest delta (or gamma) that may become centres. An image has at most
    so many submasks."""
    clusters: Annotated[int, Field(ge=1, le=255)] = 8
    """``kmeans`` and ``random``: number of clusters. An image has at most so many submasks."""
    min_density: Annotated[int, Field(ge=0, le=2**26)] = 10
    """A candidate must have a higher density than this; others are outliers."""
    distance: Literal["euclidean", "normalized"] = "euclidean"
    """Distance of RGB vectors in [0, 1]. From black to white it is sqrt 3, or ``normalized`` 1."""

    @property
    def without_files(self) -> "SubmaskConfig":
        """The same; but the whole mask where submasks would come from files, which an image alone has not."""
        return SubmaskConfig(method="whole") if self.method == "given" else self

    @property
    def most(self) -> int:
        """No image has more submasks than this."""
        most = {"kmeans": self.clusters, "random": self.clusters, "whole": 1, "given": MOST_GIVEN}
        return most.get(self.method, self.candidates)


class ModelConfig(Section):
    """The network. The widths meet the paper's budget: 9.30 M + 2.68 M = 11.98 M parameters."""

    network: Text = "frih"
    """Which network: a name in :data:`frih.models.build.NETWORKS`. The other keys of this section are those of FRIH."""
    arguments: dict[str, JsonValue] = {}
    """Arguments of another network, by name."""
    cascade: bool = True
    """The lightweight cascaded module; without it the base network alone is the *Baseline* of Table 3."""
    fusion: bool = True
    """Predict from all cascaded decoder layers; otherwise from the last one."""
    dense: bool = False
    """Run the second stage literally, at full size for every submask: the slow reference of the default."""
    residual: bool | Literal["base", "cascade"] = True
    """Which stages predict a change that is added to the image they are given (the composite, the coarse image): both, none, or
    the named one. Otherwise the base network ends in iDIH's blending layer, which learns little at the paper's rate, and the
    fusion head predicts the image itself."""
    norm: Literal["batch", "none"] = "batch"
    """Normalisation layers. With ``none`` the result of an image does not depend on its batch."""
    base_widths: Layers = (48, 80, 96, 176, 192, 384, 400)
    """Channels of the base encoder's seven layers; the decoder mirrors them."""
    base_decoder_width: Width = 32
    """Channels of the base decoder's last layer."""
    cascade_widths: Layers = (16, 32, 32, 80, 80, 96, 128)
    """Channels of the cascaded encoder's seven layers; the decoder mirrors them, and its last layer is as wide as the first."""
    head_width: Width = 32
    """Channels of the two 3x3 convolutions of the fusion head."""
    shrink: Ramp | None = None
    """Outside of training, scale each image's change by its own mean size over the foreground: ``[low, full, most]``, see
    :func:`frih.models.shrink.shrink_change`. ``scripts/limits.py`` finds it for trained weights. Off in the paper."""

    @model_validator(mode="after")
    def _parts_fit(self) -> "ModelConfig":
        if not self.cascade and self.fusion:
            raise ValueError("without a cascade there is no fusion head: set fusion to false as well")
        if self.shrink and not self.shrink[0] < self.shrink[1]:
            raise ValueError(f"shrink takes [low, full, most] with low below full, not {list(self.shrink)}")
        if self.shrink and self.network != "frih":
            raise ValueError(f"shrink is for FRIH; the network {self.network} has to do it itself, by its arguments")
        return self


class LossConfig(Section):
    """Equations 6 to 8."""

    min_area: Pixels = 100
    """A_min, in pixels: smaller masks and submasks count as if they had this area."""
    equal: Literal["submasks", "pixels"] = "submasks"
    """What has equal weight in the refine loss: the submasks of an image, as in equation 8, or the pixels of its mask, as in
    fMSE."""
    refine_weight: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    """Weight of the refine loss in equation 6; 1 in the paper."""


class TrainConfig(Section):
    """Optimisation."""

    epochs: Epochs = 180
    """Passes over the training images."""
    batch: Images = 128
    """Images in a step, over all processes."""
    accumulate: Images = 1
    """Each process takes its images of a step in so many parts, one after the other: less memory, the same gradient. Batch
    normalisation then takes its statistics from each part."""
    lr: Rate | None = None
    """Initial learning rate. Unset: ``base_lr`` scaled by batch / 128."""
    base_lr: Rate = 0.008
    """Initial learning rate at batch 128; the paper's value."""
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    """Adam's decay rates."""
    milestones: Annotated[tuple[Epochs, ...], Field(max_length=1000)] = (160, 175)
    """Epochs after which the learning rate falls tenfold."""
    warmup_steps: Annotated[int, Field(ge=0, le=10**9)] = 0
    """Steps over which the learning rate first rises linearly. The paper has none."""
    clip_norm: Annotated[float, Field(gt=0, le=1e9)] | None = None
    """Largest norm of the gradient; a larger gradient is scaled down to it. The paper has none."""
    end_to_end: bool = True
    """Whether the gradient of the refine loss reaches the base network, or stops at the coarse image and the E_i."""
    init_from: FilePath | None = None
    """Checkpoint whose weights to start from. Parts that it lacks keep their initial values and are printed."""
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay of an exponential moving average of the weights, as 0.999. Validation and evaluation then take the averaged
    weights. They see batches of their own, too, at the cost of one forward pass in each of 100 steps, then in every tenth."""
    on_nonfinite: Literal["stop", "skip"] = "stop"
    """After a gradient that is not finite: its step is left out, and the run stops or goes on; see docs/training.md."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Arithmetic of the network's forward pass; the loss is always float32."""
    tf32: bool = True
    """GPUs multiply float32 numbers with the 10 bits of mantissa of TF32."""
    channels_last: bool = True
    """Memory layout of weights and features: channels last, or first."""
    compile: bool = False
    """Compile the network by ``torch.compile``, which takes minutes at the start."""
    profile: Annotated[int, Field(ge=0, le=1000)] = 0
    """Steps to profile near the start: the time of each part is printed, and a trace is written into the run's folder."""
    device: DeviceName = "auto"
    """As PyTorch names it: ``cpu``, ``cuda``, ``cuda:1``, ``xpu``, ``mps``. ``auto`` takes a GPU if there is one: CUDA's, else
    Intel's (xpu), else Apple's (mps); the last two are untried."""

    @model_validator(mode="after")
    def _milestones_ascend(self) -> "TrainConfig":
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(f"milestones must ascend, not {list(self.milestones)}")
        return self


class ValidationConfig(Section):
    """Validation on images that are held out of the training split."""

    fraction: Annotated[float, Field(ge=0, lt=1)] = 0.02
    """Share of the real images that is held out in each subset, with all their composites."""
    list: FilePath | None = None
    """Held out instead of ``fraction``: the composites of the dataset's own lists, as ``val`` for ``HCOCO_val.txt`` or
    ``IHD_val.txt``, or of a file, as ``./mine.txt``. Other composites of their real images are left out of training."""
    every: Count = 5
    """Epochs between validations; the last epoch always has one."""
    images: Annotated[int, Field(ge=0, le=1000)] = 8
    """Validation images drawn into TensorBoard each time."""


if TYPE_CHECKING:  # type checkers know no Literal that is made at run time
    ProtocolName = str
    MetricName = str
else:
    ProtocolName, MetricName = Literal[tuple(PROTOCOLS)], Literal[tuple(METRICS)]


class EvaluationConfig(Section):
    """What ``evaluate.py`` computes."""

    protocol: ProtocolName = "idih"
    """Rule by which MSE, PSNR and fMSE are computed, by its name in :data:`frih.config.protocols.PROTOCOLS`."""
    metrics: tuple[MetricName, ...] = DEFAULT
    """What is computed of each image. The paper's MSE, PSNR and fMSE are always computed."""
    lpips: FilePath | None = None
    """File of the weights of torchvision's AlexNet, for LPIPS. Unset: the one in torchvision's cache."""
    original_size: bool = False
    """Compare images at their own size instead of ``data.size``."""
    batch: Images = 16
    """Images per forward pass. Changes memory and speed, not results."""


class LoggingConfig(Section):
    """The log of a run."""

    every: Count = 50
    """Steps between two lines of ``metrics.jsonl`` and TensorBoard."""


class CheckpointConfig(Section):
    """When ``checkpoints/last.pt`` is written, besides at each epoch's end and when the run is stopped, and what is kept."""

    every_steps: Count = 1000
    """Steps between two checkpoints."""
    every_minutes: Annotated[float, Field(gt=0, le=1e6)] | None = None
    """Also write one when so many minutes have passed."""
    keep: Count = 2
    """How many are kept: the newest is ``last.pt``, older ones are ``step-00001000.pt``."""
    keep_epochs: Count | None = None
    """Epochs between checkpoints that are kept for good, as ``epoch-0010.pt``."""


class Config(Section):
    """A resolved recipe: everything that determines a run."""

    run: FilePath | None = None
    """Folder of the run. Unset: ``runs/`` and the recipe's path below ``configs/``, as ``runs/ablations/baseline``."""
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] = 0
    """Of the initial weights, the validation split, the order of images and every augmentation."""
    data: DataConfig = DataConfig()
    submasks: SubmaskConfig = SubmaskConfig()
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    train: TrainConfig = TrainConfig()
    validation: ValidationConfig = ValidationConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    logging: LoggingConfig = LoggingConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()

    @property
    def learning_rate(self) -> float:
        """The initial learning rate: ``train.lr``, or ``train.base_lr`` scaled by batch / 128."""
        return self.train.lr if self.train.lr is not None else self.train.base_lr * self.train.batch / 128
