"""Everything that a run depends on, as one immutable record that `config.json` holds."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from mpnn.datasets.own.columns import Columns
from mpnn.train.choices import FEATURES, LATTICES, LOGS, LOSSES, OF_NUMBERS, PICTURES, RULES
from mpnn.train.errors import RunError
from mpnn.train.record import NO_COLUMNS, Record
from mpnn.train.tasks.metrics import METRICS

MONITORS = ("loss", "both", "last", *METRICS)
DECAYED = ("all", "first")
OPTIMIZERS = ("adam", "adamw", "sgd", "adagrad", "rmsprop")
SCHEDULES = ("constant", "step", "cosine", "plateau")
PREDICTED = ("links", "labels")
DECODERS = ("dot", "mlp")
LEARN = ("classification", "regression")
SPLITS = ("public", "per-class", "random")


@dataclass(frozen=True, kw_only=True)
class Recipe(Record):
    """How a model is trained; the same settings for every model and task.

    Args:
        optimizer: `"adam"`, `"adamw"`, `"sgd"`, `"adagrad"` or `"rmsprop"`.
        lr: learning rate.
        momentum: of sgd and rmsprop.
        nesterov: look ahead by the momentum; sgd only.
        weight_decay: L2 penalty, added to the gradient as in the papers (by adamw: taken off the weights).
        decayed: the layers that have this penalty: `"all"`, or only the `"first"`.
        l1: L1 penalty: this times the sum of all absolute weights is added to the loss, and followed by its
            subgradient: weights come near 0, and to 0 only as the learning rate does.
        clip: the largest norm of the gradient of all parameters together; None does not clip.
        schedule: of the learning rate: `"constant"`; `"step"`: times `decay` every `decay_every` epochs;
            `"cosine"`: down to zero at the last of `epochs`; `"plateau"`: times `decay` whenever the
            validation loss has not fallen for `decay_every` epochs.
        decay, decay_every: of `"step"` and `"plateau"`.
        warmup: the number of epochs at the beginning in which the learning rate rises linearly.
        epochs: how many at most.
        patience: the number of epochs without progress on the validation items after which to stop; None goes
            on to the last.
        monitor: what progress is: `"loss"` falls; a metric such as `"accuracy"` gets better (ties: the lower
            loss); or `"both"`, as in the code of Veličković et al. (2018): the loss or the task's first
            metric is at least as good as its best so far, and a new best model needs both. With `"last"` the
            model of the last epoch is kept.

    Raises:
        RunError: a value out of its range, or one that another one leaves without effect.
    """

    optimizer: str = "adam"
    lr: float = 0.01
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 5e-4
    decayed: str = "all"
    l1: float = 0.0
    clip: float | None = None
    schedule: str = "constant"
    decay: float | None = None
    decay_every: int | None = None
    warmup: int = 0
    epochs: int = 200
    patience: int | None = None
    monitor: str = "loss"

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in fields(self):
            value, low = getattr(self, field.name), LOWEST.get(field.name)
            if low is not None and value is not None and not (value >= low and math.isfinite(value)):
                raise RunError(f"{field.name} is {value}, but should be at least {low}")
            choices = CHOICES.get(field.name)
            if choices is not None and value is not None and value not in choices:
                raise RunError(f"{field.name} is {value!r}, but should be one of {', '.join(choices)}")
            if field.name in BELOW_ONE and value is not None and value >= 1:
                raise RunError(f"{field.name} is {value}, but should be below 1")
        if self.clip == 0:
            raise RunError("clip is 0.0, but should be above 0: nothing would be learned")
        if self.momentum and self.optimizer not in ("sgd", "rmsprop"):
            raise RunError(
                f"momentum is {self.momentum}, but {self.optimizer} has none: sgd and rmsprop have"
            )
        if self.nesterov and not (self.optimizer == "sgd" and self.momentum):
            raise RunError("nesterov is set, but needs optimizer sgd and a momentum above 0")
        for name in ("decay", "decay_every"):
            if getattr(self, name) is not None and self.schedule not in ("step", "plateau"):
                raise RunError(
                    f"{name} is {getattr(self, name)}, but schedule {self.schedule} has none: step and "
                    "plateau have"
                )
        if self.monitor == "last" and self.patience is not None:
            raise RunError(f"patience is {self.patience}, but monitor is 'last': all epochs are done")


@dataclass(frozen=True, kw_only=True)
class Options(Recipe):
    """A whole run: the data, the model, its recipe, and the seeds.

    Each kind of task has some of these. `Settings` are options that are checked to be those of their task.

    Args:
        task: the kind of task: `"node"`, `"edge"`, `"graph"`, `"image"`, `"text"`, or another one of `KINDS`.
        dataset, data: name of the data set, or the path of a file of your own; and the folder with its files.
        columns: of a file of your own, which column is what.
        largest_component: keep only the largest connected component of the graph; node and edge tasks only.
        features: what is made of the node features, see `mpnn.train.inputs.preparation`; None is "standard"
            where they come from a table of your own, else "given".
        model: name of the model, or of the convolution that it is a stack of, see `mpnn.models`.
        hidden: channels of a hidden layer; of each head, where there are heads.
        layers: number of layers.
        heads, out_heads: attention heads of the hidden layers and of the output, for models that have them.
        norm, jk, residual, virtual_node: normalisation, jumping knowledge, skips, and a node linked to all
            others, see `mpnn.models.GNN`.
        readout: how nodes become a graph: `"sum"`, `"mean"`, `"max"`, ...; graph tasks only.
        embedding: channels of the vector of each node, by which links are predicted; or the width of the code
            of an image, for models that have codes; edge and image tasks only.
        map, lattice: rows and columns of a self-organising map, such as `"12x12"`, and whether its units have
            four neighbours (`"square"`), six (`"hexagonal"`), or four without a margin (`"torus"`); image
            tasks only.
        pretrain: epochs in which each layer of a deep belief network learns alone; image tasks only.
        decoder: how two such vectors become a link: `"dot"` or `"mlp"`; edge tasks only.
        predict: `"links"`: which there are, or `"labels"`: what is known of each edge, their classes or
            numbers; None is labels where there are some; edge tasks only.
        hits: k of the metric Hits@k of links; edge tasks only.
        self_links: in training, each node is linked with itself too; edge tasks only.
        patterns, noise: how many pictures are remembered, and the share of their pixels that are turned over
            when they are recalled; memory tasks only.
        rule: `"hebb"` or `"pseudo-inverse"`, see `mpnn.models.HopfieldNetwork`; memory tasks only.
        dropout: probability, on the input of every layer and on attention weights.
        attention_dropout: probability on attention weights, if it is another one.
        act: activation between the layers.
        learn: `"classification"` or `"regression"`: whether answers are learned as classes or as numbers;
            None is as they are written: numbers if one has a decimal point, else classes. Its flag is
            `--task`.
        loss, class_weights, known_counts: see `mpnn.train.objective`.
        batch_size: graphs, images or pieces of text in a batch; in node tasks, of several graphs how many, of
            one graph how many nodes, with a sample of their neighbourhoods; None takes one graph whole.
        augment: what is done to images that are learned from, divided by commas: `"crop"`, `"shift"`,
            `"flip"`, `"rotate"`, `"zoom"`, `"erase"`, see `mpnn.train.inputs.augmentation`; image tasks only.
        weights: path of a file with the weights to begin with, a `state_dict` by `torch.save`, or in the
            format of safetensors; a last layer of another size begins anew; image and segment tasks
            only.
        freeze: all layers but the last keep these weights, and the statistics of batch normalisation; image
            and segment tasks only.
        ensemble: how many networks answer together: each begins with other weights and learns from the same
            items, and the mean of their probabilities, or numbers, is the answer.
        fanouts: of each layer, the last one first, how many edges enter a node of such a sample at most,
            divided by commas, or `"all"`; None is 10 where there is a batch_size; node tasks only.
        context: characters that a piece of text has; text tasks only.
        steps: batches in an epoch; text tasks only.
        split: `"public"`: the one that was published with the data; `"per-class"`: of each class 20 nodes to
            train and 30 to validate on, as Shchur et al. (2018); `"random"`: by shares. None is public where
            there is one, else random. All but the public one depend on the seed.
        val_share, test_share: of a random split, the share of the items to validate and to test on.
        folds: the number of parts of a cross-validation, each of which is to test on once; `val_share` is
            then a share of the other parts.
        fold: test on this part only, counted from 0.
        shared_epoch: cross-validation as Xu et al. (2019): models are validated on the part that they are
            tested on, and the epoch with the best mean over all folds is reported. That mean is chosen by the
            test, and higher than what new data would give.
        seed: of the first run; the following runs count up from it.
        runs: how many runs, each from a new start.
        device: `"cpu"`, `"cuda"`, ..., or `"auto"`: the GPU if there is one.
        log: what else is told the numbers of every epoch: `"tensorboard"`, `"wandb"` or `"mlflow"`.
        pictures: how pictures are saved: `"png"`, `"pdf"`, `"svg"`, or `"none"`; None is `"png"`.

    >>> Options(dataset="karate", epochs=50).epochs
    50
    """

    task: str = "node"
    dataset: str = "karate"
    data: str | None = None
    columns: Columns = NO_COLUMNS
    largest_component: bool = False
    features: str | None = None
    model: str = "gcn"
    hidden: int = 16
    layers: int = 2
    heads: int | None = None
    out_heads: int | None = None
    norm: str | None = None
    jk: str | None = None
    residual: bool = False
    virtual_node: bool = False
    readout: str | None = None
    embedding: int | None = None
    map: str | None = None
    lattice: str | None = None
    pretrain: int | None = None
    patterns: int | None = None
    noise: float | None = None
    rule: str | None = None
    decoder: str | None = None
    predict: str | None = None
    hits: int | None = None
    self_links: bool = False
    dropout: float = 0.5
    attention_dropout: float | None = None
    act: str = "relu"
    learn: str | None = None
    loss: str | None = None
    class_weights: str | None = None
    known_counts: bool = False
    batch_size: int | None = None
    augment: str | None = None
    weights: str | None = None
    freeze: bool = False
    ensemble: int | None = None
    fanouts: str | None = None
    context: int | None = None
    steps: int | None = None
    split: str | None = None
    val_share: float | None = None
    test_share: float | None = None
    folds: int | None = None
    fold: int | None = None
    shared_epoch: bool = False
    seed: int = 0
    runs: int = 1
    device: str = "auto"
    log: str | None = None
    pictures: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.folds is None:
            if self.fold is not None:
                raise RunError(f"fold is {self.fold}, but folds is not given: how many there are")
        elif self.split not in (None, "random") or self.test_share is not None:
            name = "test_share" if self.test_share is not None else "split"
            raise RunError(f"{name} is {getattr(self, name)!r}, but with folds the fold is what is tested on")
        elif self.fold is not None and self.fold >= self.folds:
            raise RunError(f"fold is {self.fold}, but there are {self.folds} folds, 0..{self.folds - 1}")
        if self.freeze and self.weights is None:
            raise RunError("freeze is set, but weights is not given: layers would stay as they were drawn")
        if self.shared_epoch:
            self._check_shared_epoch()
        self._check_learn()

    def _check_shared_epoch(self) -> None:
        if self.folds is None:
            raise RunError("shared_epoch is set, but folds is not given: how many share it")
        for name, why in (("patience", "all folds do all epochs"), ("val_share", "the fold is validated on")):
            if getattr(self, name) is not None:
                raise RunError(f"{name} is {getattr(self, name)}, but with shared_epoch {why}")

    def _check_learn(self) -> None:
        numbers = self.learn == "regression"
        if self.learn is not None and self.loss is not None and numbers != (self.loss in OF_NUMBERS):
            fitting = [loss for loss in LOSSES if (loss in OF_NUMBERS) == numbers]
            raise RunError(
                f"loss is {self.loss!r}, but task is {self.learn!r}: take one of {', '.join(fitting)}"
            )
        for name in ("class_weights", "known_counts"):
            if numbers and getattr(self, name):
                raise RunError(
                    f"{name} is {getattr(self, name)!r}, but numbers have no classes: leave it out"
                )

    @property
    def num_runs(self) -> int:
        """How many single runs these settings are: each seed with each fold."""
        return self.runs * (1 if self.folds is None or self.fold is not None else self.folds)


LOWEST = {
    "lr": 0.0,
    "momentum": 0.0,
    "weight_decay": 0.0,
    "l1": 0.0,
    "clip": 0.0,
    "decay": 0.0,
    "decay_every": 1,
    "warmup": 0,
    "epochs": 1,
    "patience": 1,
    "hidden": 1,
    "layers": 1,
    "heads": 1,
    "out_heads": 1,
    "dropout": 0.0,
    "attention_dropout": 0.0,
    "batch_size": 1,
    "ensemble": 2,
    "context": 1,
    "steps": 1,
    "embedding": 1,
    "pretrain": 0,
    "patterns": 1,
    "noise": 0.0,
    "hits": 1,
    "val_share": 0.0,
    "test_share": 0.0,
    "folds": 2,
    "fold": 0,
    "seed": 0,
    "runs": 1,
}
HIGHEST = 2**31 - 1
BELOW_ONE = ("dropout", "attention_dropout", "momentum", "noise", "val_share", "test_share")
CHOICES = {
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "monitor": MONITORS,
    "decayed": DECAYED,
    "learn": LEARN,
    "loss": LOSSES,
    "split": SPLITS,
    "features": FEATURES,
    "lattice": LATTICES,
    "rule": RULES,
    "decoder": DECODERS,
    "predict": PREDICTED,
    "log": LOGS,
    "pictures": PICTURES,
}
