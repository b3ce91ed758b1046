"""Callbacks of a fit, with ready ones that write its history to a file or to an experiment tracker."""

from latentmap.training.callbacks.base import Callback, Progress
from latentmap.training.callbacks.base import notify as notify
from latentmap.training.callbacks.base import takes_progress as takes_progress
from latentmap.training.callbacks.csv_file import CSVLogger
from latentmap.training.callbacks.mlflow_run import MLflowLogger
from latentmap.training.callbacks.tensor_board import TensorBoardLogger
from latentmap.training.callbacks.wandb_run import WandbLogger

__all__ = [
    "CSVLogger",
    "Callback",
    "MLflowLogger",
    "Progress",
    "TensorBoardLogger",
    "WandbLogger",
]
