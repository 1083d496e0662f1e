"""The public names of `mpnn.train`."""

from mpnn.train.analysis.communities import COMMUNITIES, communities, modularity, nmi
from mpnn.train.analysis.linear_probe import linear_probe
from mpnn.train.analysis.smoothing import (
    Smoothness,
    dirichlet_energy,
    layer_states,
    mean_average_distance,
    over_smoothing,
)
from mpnn.train.analysis.squashing import (
    balanced_forman_curvature,
    distances_to,
    influence_by_distance,
    jacobian_norms,
)
from mpnn.train.errors import RunError
from mpnn.train.fitting.loop import Result, fit
from mpnn.train.kinds.kind import Kind
from mpnn.train.kinds.node import PRESETS
from mpnn.train.kinds.registry import KINDS
from mpnn.train.options import Recipe
from mpnn.train.pictures.answers import (
    confusion_picture,
    graph_picture,
    images_picture,
    roc_picture,
)
from mpnn.train.pictures.attention import Attended, attention_picture, attention_weights
from mpnn.train.pictures.codes import (
    latent_picture,
    latent_plane_picture,
    reconstructions_picture,
    samples_picture,
)
from mpnn.train.pictures.curves import embedding_picture, loss_curve, training_curves
from mpnn.train.pictures.diagnosis import smoothing_picture, squashing_picture
from mpnn.train.pictures.maps import planes_picture, umatrix_picture
from mpnn.train.pictures.numbers import numbers_picture
from mpnn.train.pictures.of_a_run import Picture
from mpnn.train.pictures.style import save_picture
from mpnn.train.portable.export import export
from mpnn.train.runs.build import build_model, models
from mpnn.train.runs.embed_run import EmbedReport, embed
from mpnn.train.runs.embed_settings import EmbedSettings, embed_preset
from mpnn.train.runs.listing import list_runs
from mpnn.train.runs.presets import preset
from mpnn.train.runs.report import Report
from mpnn.train.runs.run import Listener, load_model, train
from mpnn.train.runs.settings import Settings
from mpnn.train.runs.trained import Trained, load
from mpnn.train.tasks.edge_task import EdgeTask, LinkTask
from mpnn.train.tasks.graph_task import GraphTask
from mpnn.train.tasks.image_task import ImageTask
from mpnn.train.tasks.metrics import METRICS, Metric
from mpnn.train.tasks.node_task import InductiveNodeTask, InputDropout, NodeTask
from mpnn.train.tasks.objective import Objective, objective
from mpnn.train.tasks.split import Split
from mpnn.train.tasks.task import SupervisedTask, Task
from mpnn.train.tasks.text_task import TextTask

__all__ = [
    "COMMUNITIES",
    "KINDS",
    "METRICS",
    "PRESETS",
    "Attended",
    "EdgeTask",
    "EmbedReport",
    "EmbedSettings",
    "GraphTask",
    "ImageTask",
    "InductiveNodeTask",
    "InputDropout",
    "Kind",
    "LinkTask",
    "Listener",
    "Metric",
    "NodeTask",
    "Objective",
    "Picture",
    "Recipe",
    "Report",
    "Result",
    "RunError",
    "Settings",
    "Smoothness",
    "Split",
    "SupervisedTask",
    "Task",
    "TextTask",
    "Trained",
    "attention_picture",
    "attention_weights",
    "balanced_forman_curvature",
    "build_model",
    "communities",
    "confusion_picture",
    "dirichlet_energy",
    "distances_to",
    "embed",
    "embed_preset",
    "embedding_picture",
    "export",
    "fit",
    "graph_picture",
    "images_picture",
    "influence_by_distance",
    "jacobian_norms",
    "latent_picture",
    "latent_plane_picture",
    "layer_states",
    "linear_probe",
    "list_runs",
    "load",
    "load_model",
    "loss_curve",
    "mean_average_distance",
    "models",
    "modularity",
    "nmi",
    "numbers_picture",
    "objective",
    "over_smoothing",
    "planes_picture",
    "preset",
    "reconstructions_picture",
    "roc_picture",
    "samples_picture",
    "save_picture",
    "smoothing_picture",
    "squashing_picture",
    "train",
    "training_curves",
    "umatrix_picture",
]
