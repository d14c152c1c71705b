"""What can be configured: every key, its meaning and its default, in one place.

A recipe (``configs/*.yaml``) states only where it differs from this page; :mod:`frih.config.recipes` reads recipes. The models
are frozen, know no key but those below and take no value of another type, so a mistyped recipe never trains. The values that
the paper states are defaults here; ``docs/decisions.md`` says which of the others fill a gap in the paper.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from frih.config.protocols import DEFAULT, METRICS, PROTOCOLS

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]


class Section(BaseModel):
    """A group of keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class DataConfig(Section):
    """Which images, and how they come to the network."""

    root: str | None = None
    """Folder of a dataset in iHarmony4's layout. Recipes leave it to the command line: ``data.root=/datasets/iHarmony4``."""
    subsets: tuple[str, ...] | None = None
    """Sub-datasets to use, by folder name. Unset: all that the root holds."""
    size: Annotated[int, Field(ge=128, multiple_of=128)] = 256
    """Side in pixels to which every image is resized; the network halves it seven times."""
    crop_scale: tuple[Share, Share] = (0.5, 1.0)
    """Training: share of the image's area that the random box covers, least and most."""
    crop_ratio: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = (0.75, 4 / 3)
    """Training: width over height of the random box, least and most."""
    flip: Share = 0.5
    """Training: probability of a horizontal flip."""
    keep_empty_box: Share = 0.05
    """Training: share of the boxes that may miss the foreground; the others are drawn again until they hold some of it."""
    draft: bool = True
    """Training: decode a JPEG reduced where its box then still has twice ``size`` in both directions. Evaluation never does."""
    online: Share = 0.0
    """Training: share of the composites that are made anew each time, of their real image and the colours of another's
    object; see docs/data.md. Where no reference gives a composite within bounds, the stored one is taken."""
    regions: Annotated[int, Field(ge=0, le=8)] = 0
    """Training: each of so many colour regions of every fifth object that ``online`` restyles takes the colours of another
    reference, so that no one correction is right for the whole foreground. 0 (as in all published data sets) and 1: none."""
    unchanged: Share = 0.0
    """Training: share of the composites that the real image itself replaces, so that a network learns to leave alone what
    already fits. The paper trains without."""
    label_cache: str | None = None
    """Folder that keeps the submasks of whole images, so that validation and evaluation cluster them once. Unset: none."""
    workers: Count = 4
    """Loader processes per training process, at most one a CPU core; 0 loads in the training process itself."""

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

    method: Literal["cfsfdp", "gamma", "kmeans", "whole"] = "cfsfdp"
    """``cfsfdp``, the paper's rule, clusters the foreground by colour, its centres being density peaks of the highest delta.
    ``gamma`` takes those of the highest density times delta, Rodriguez and Laio's own rule. ``kmeans`` is k-means. ``whole``
    takes the mask as its only submask (*Cascade Globalmask*)."""
    cutoff: Annotated[float, Field(gt=0, le=1)] = 0.1
    """The cutoff distance d_c of equation 1, for RGB in [0, 1]."""
    candidates: Annotated[int, Field(ge=1, le=255)] = 10
    """``cfsfdp`` and ``gamma``: number of colours of highest delta (or gamma) that may become cluster centres, and so the most
    submasks an image can have."""
    clusters: Annotated[int, Field(ge=1, le=255)] = 8
    """``kmeans``: number of clusters, the most submasks an image can have."""
    min_density: Count = 10
    """Candidates whose density does not exceed this are isolated outliers, not centres."""
    distance: Literal["euclidean", "normalized"] = "euclidean"
    """Between RGB vectors in [0, 1]: as it is (black to white is sqrt 3), or ``normalized`` by sqrt 3 (black to white is 1)."""

    @property
    def most(self) -> int:
        """No image has more submasks than this."""
        return self.clusters if self.method == "kmeans" else self.candidates


class ModelConfig(Section):
    """The network. The widths meet the paper's budget: 9.30 M + 2.68 M = 11.98 M parameters."""

    cascade: bool = True
    """The lightweight cascaded module; without it the base network alone is the *Baseline* of Table 3."""
    fusion: bool = True
    """Predict from all cascaded decoder layers; otherwise from the last one."""
    dense: bool = False
    """Evaluate the fusion head literally, at full size for every submask: the slow reference of the default."""
    refine_blend: bool = False
    """Mix the fusion head's image with the coarse one as the base network's blending layer does with the composite."""
    residual: bool | Literal["base", "cascade"] = True
    """Stages that predict a change, which is added to the image they are given (the composite, and the coarse image): both,
    none, or the one that is named. Without it the base network ends in iDIH's blending layer, which learns little at the
    paper's rate, and the fusion head predicts the image itself."""
    norm: Literal["batch", "none"] = "batch"
    """Normalisation layers; ``none`` makes every image independent of the others in its batch."""
    base_widths: Annotated[tuple[Positive, ...], Field(min_length=7, max_length=7)] = (48, 80, 96, 176, 192, 384, 400)
    """Channels of the base encoder's seven layers; the decoder mirrors them."""
    base_decoder_width: Positive = 32
    """Channels of the base decoder's last layer."""
    cascade_widths: Annotated[tuple[Positive, ...], Field(min_length=7, max_length=7)] = (16, 32, 32, 80, 80, 96, 128)
    """Channels of the cascaded encoder's seven layers; the decoder mirrors them, and its last layer is as wide as the first."""
    head_width: Positive = 32
    """Channels of the two 3x3 convolutions of the fusion head."""

    @model_validator(mode="after")
    def _parts_fit(self) -> "ModelConfig":
        if not self.cascade and (self.fusion or self.refine_blend):
            raise ValueError(
                "without a cascade there is no fusion head: set fusion (and refine_blend) to false as well"
            )
        if self.residual in (True, "cascade") and self.refine_blend:
            raise ValueError(
                "refine_blend: a change that is added leaves nothing to blend; set residual to base or false"
            )
        return self


class LossConfig(Section):
    """Equations 6 to 8."""

    min_area: Positive = 100
    """A_min, in pixels: smaller masks and submasks weigh as if they had this area."""
    equal: Literal["submasks", "pixels"] = "submasks"
    """What counts alike in the refine loss: all submasks of an image, as equation 8 has it, or all pixels of its mask, as in
    fMSE."""


class TrainConfig(Section):
    """Optimisation."""

    epochs: Positive = 180
    """Passes over the training images."""
    batch: Positive = 128
    """Images per step, over all processes."""
    accumulate: Positive = 1
    """Parts in which each process takes its images of a step, one after the other: less memory, the same gradient. Batch
    normalisation then takes its statistics part by part."""
    lr: Annotated[float, Field(gt=0)] | None = None
    """Initial learning rate. Unset: ``base_lr`` scaled by batch / 128."""
    base_lr: Annotated[float, Field(gt=0)] = 0.008
    """Initial learning rate at batch 128, the paper's."""
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)
    """Adam's decay rates."""
    milestones: tuple[Positive, ...] = (160, 175)
    """Epochs after which the learning rate falls tenfold."""
    warmup_steps: Count = 0
    """Steps over which the learning rate first rises linearly; 0, as in the paper: none."""
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    """Largest norm of the gradient; larger ones are scaled down to it. Unset, as in the paper: no clipping."""
    end_to_end: bool = True
    """Whether the refine loss reaches the base network; false stops its gradient at the coarse image and at the E_i."""
    init_from: str | None = None
    """Checkpoint whose weights to start from. Weights only: the parts it lacks keep their initial values and are named."""
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay of an exponential moving average of the weights over the steps, as 0.999. Where it is set, the averaged weights are
    validated, and are those that evaluation takes from the run's checkpoints."""
    on_nonfinite: Literal["stop", "skip"] = "stop"
    """At a gradient that is not finite: stop with the names of the images, or leave the step out and go on."""
    max_skips: Positive = 10
    """With ``skip``: stop after more than so many steps in a row."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Arithmetic of the network's forward pass; the loss is always float32."""
    tf32: bool = True
    """Let GPUs multiply float32 with TF32's 10 bits of mantissa."""
    channels_last: bool = True
    """Memory layout of weights and features: channels last, or first."""
    fused: bool = False
    """Adam's update of all weights in one kernel."""
    compile: bool = False
    """Compile the network by ``torch.compile``: minutes at the start; see docs/training.md for what it brings."""
    profile: Count = 0
    """Steps to be profiled near the start: prints the time each part takes, and writes a trace into the run's folder."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """``auto`` takes a GPU where there is one."""

    @model_validator(mode="after")
    def _milestones_ascend(self) -> "TrainConfig":
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(f"milestones must ascend, not {list(self.milestones)}")
        return self


class ValidationConfig(Section):
    """Watching the training, on images held out of the training split."""

    fraction: Annotated[float, Field(ge=0, lt=1)] = 0.02
    """Share of the training split's real images held out, with all their composites, in each subset; 0: none."""
    every: Positive = 5
    """Validate after every so many epochs, and after the last."""
    images: Count = 8
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
    lpips: str | None = None
    """File of the weights of torchvision's AlexNet, for LPIPS. Unset: the one in torchvision's cache."""
    original_size: bool = False
    """Compare images at their own size, not at ``data.size``."""
    batch: Positive = 16
    """Images per forward pass. Changes memory and speed, not results."""


class LoggingConfig(Section):
    """What a run writes while it trains."""

    every: Positive = 50
    """Steps between two lines of ``metrics.jsonl`` and TensorBoard."""


class CheckpointConfig(Section):
    """When ``checkpoints/last.pt`` is written, besides after every epoch and when the run is stopped, and what is kept."""

    every_steps: Positive = 1000
    """Write it after every so many steps."""
    every_minutes: Annotated[float, Field(gt=0)] | None = None
    """Write it also when so many minutes have passed since the last time."""
    keep: Positive = 2
    """How many are kept: the newest, ``last.pt``, and those before it, as ``step-00001000.pt``."""
    keep_epochs: Positive | None = None
    """Keep that of every so many epochs for good, as ``epoch-0010.pt``."""


class Config(Section):
    """Everything that makes a run: a recipe, resolved."""

    run: str | None = None
    """Folder of the run. Unset: ``runs/`` and the recipe's path below ``configs/``, as ``runs/ablations/baseline``."""
    seed: Count = 0
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
