"""Training: tasks, the loop, run folders, pictures, and the command `mpnn`."""

from mpnn.train.build import build_model
from mpnn.train.errors import RunError
from mpnn.train.loop import Result, fit
from mpnn.train.pictures import embedding_picture, save_picture, training_curves
from mpnn.train.presets import PRESETS, preset
from mpnn.train.run import Listener, Report, load_model, train
from mpnn.train.settings import Recipe, Settings
from mpnn.train.task import InputDropout, NodeClassification, Task

__all__ = [
    "PRESETS",
    "InputDropout",
    "Listener",
    "NodeClassification",
    "Recipe",
    "Report",
    "Result",
    "RunError",
    "Settings",
    "Task",
    "build_model",
    "embedding_picture",
    "fit",
    "load_model",
    "preset",
    "save_picture",
    "train",
    "training_curves",
]
