"""Training: tasks, the loop, run folders, pictures, and the command `mpnn`."""

from mpnn.train.answer_pictures import confusion_picture, graph_picture, roc_picture
from mpnn.train.build import build_model, models
from mpnn.train.communities import COMMUNITIES, communities, modularity, nmi
from mpnn.train.edge_task import EdgeTask, LinkTask
from mpnn.train.embed_run import EmbedReport, embed
from mpnn.train.embed_settings import EmbedSettings, embed_preset
from mpnn.train.errors import RunError
from mpnn.train.graph_task import GraphTask
from mpnn.train.linear_probe import linear_probe
from mpnn.train.loop import Result, fit
from mpnn.train.metrics import METRICS, Metric
from mpnn.train.node_task import InputDropout, NodeTask
from mpnn.train.objective import Objective, objective
from mpnn.train.pictures import embedding_picture, loss_curve, save_picture, training_curves
from mpnn.train.presets import PRESETS, preset
from mpnn.train.run import Listener, Report, load_model, train
from mpnn.train.settings import Recipe, Settings
from mpnn.train.split import Split
from mpnn.train.task import SupervisedTask, Task

__all__ = [
    "COMMUNITIES",
    "METRICS",
    "PRESETS",
    "EdgeTask",
    "EmbedReport",
    "EmbedSettings",
    "GraphTask",
    "InputDropout",
    "LinkTask",
    "Listener",
    "Metric",
    "NodeTask",
    "Objective",
    "Recipe",
    "Report",
    "Result",
    "RunError",
    "Settings",
    "Split",
    "SupervisedTask",
    "Task",
    "build_model",
    "communities",
    "confusion_picture",
    "embed",
    "embed_preset",
    "embedding_picture",
    "fit",
    "graph_picture",
    "linear_probe",
    "load_model",
    "loss_curve",
    "models",
    "modularity",
    "nmi",
    "objective",
    "preset",
    "roc_picture",
    "save_picture",
    "train",
    "training_curves",
]
