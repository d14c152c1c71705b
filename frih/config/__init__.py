"""What can be configured (:mod:`frih.config.keys`), and how recipes say it (:mod:`frih.config.recipes`)."""

from frih.config.keys import (
    CheckpointConfig,
    Config,
    DataConfig,
    EvaluationConfig,
    LoggingConfig,
    LossConfig,
    ModelConfig,
    SubmaskConfig,
    TrainConfig,
    ValidationConfig,
)

__all__ = [
    "CheckpointConfig",
    "Config",
    "DataConfig",
    "EvaluationConfig",
    "LoggingConfig",
    "LossConfig",
    "ModelConfig",
    "SubmaskConfig",
    "TrainConfig",
    "ValidationConfig",
]
