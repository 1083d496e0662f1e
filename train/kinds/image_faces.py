"""The models of images: what help says of them, what they leave without effect, and how they begin."""

from __future__ import annotations

from typing import Any

OF_IMAGES = {
    "lenet": "LeNet-5: two convolutions, three linear layers (LeCun et al., 1998)",
    "resnet20": "residual network for small images, 0.3 million weights (He et al., 2016)",
    "resnet18": "residual network of 18 layers (He et al., 2016)",
    "resnet34": "residual network of 34 layers",
    "resnet50": "residual network of 50 layers, with narrow convolutions between wide ones",
    "mlp": "layers of neurons, each with an edge to all of the next (Rumelhart et al., 1986)",
    "perceptron": "one neuron for each class, which learns from its mistakes (Rosenblatt, 1958)",
    "rbf": "radial basis functions around centres (Broomhead and Lowe, 1988)",
    "dbn": "layers that learn one after the other, then together (Hinton et al., 2006)",
    "rbm": "codes: restricted Boltzmann machine, by contrastive divergence (Hinton, 2002)",
    "autoencoder": "codes from which images are made again (Hinton and Salakhutdinov, 2006)",
    "vae": "codes with a distribution: variational autoencoder (Kingma and Welling, 2014)",
    "som": "codes on a lattice: self-organising map (Kohonen, 1990)",
}
RESNETS = ("resnet20", "resnet18", "resnet34", "resnet50")
HEADS = dict.fromkeys(RESNETS, "fc") | {"lenet": "classify"}  # last layers, where a file's weights are taken
CODES = ("rbm", "autoencoder", "vae", "som")  # those to whom nothing is told of the images

# What an option is where it has no effect: as a new run has it.
_USUAL: dict[str, Any] = {
    "optimizer": "adam",
    "lr": 0.01,
    "momentum": 0.0,
    "nesterov": False,
    "weight_decay": 0.0,
    "l1": 0.0,
    "clip": None,
    "schedule": "constant",
    "warmup": 0,
    "decayed": "all",
    "batch_size": None,
    "hidden": 16,
    "layers": 1,
    "act": "relu",
    "dropout": 0.0,
    "epochs": 1,
    "patience": None,
    "embedding": None,
    "map": None,
    "lattice": None,
    "pretrain": None,
    "loss": None,
    "class_weights": None,
    "learn": None,
    "ensemble": None,
    "augment": None,
    "weights": None,
    "freeze": False,
}
_OPTIMISER = ("optimizer", "lr", "momentum", "nesterov", "weight_decay", "l1")
_RULE = (*_OPTIMISER, "clip", "schedule", "warmup", "decayed", "batch_size", "act", "dropout")
_TOLD = ("loss", "class_weights", "learn")
_MAP = ("map", "lattice")
_FILE = ("weights", "freeze")


def _without(*names: str) -> dict[str, Any]:
    return {name: _USUAL[name] for name in names}


FIXED: dict[str, dict[str, Any]] = {
    "lenet": {"hidden": 84, "layers": 5, "act": "tanh", "dropout": 0.0}
    | _without("embedding", "pretrain", *_MAP),
    **dict.fromkeys(
        RESNETS,
        _without("hidden", "layers", "act", "dropout", "embedding", "pretrain", *_MAP),
    ),
    "mlp": _without("embedding", "pretrain", *_MAP, *_FILE),
    "perceptron": _without(*_RULE, *_TOLD, "hidden", "layers", "embedding", "pretrain", *_MAP, *_FILE),
    "rbf": _without(*_RULE, *_TOLD, "layers", "epochs", "patience", "embedding", "pretrain", *_MAP, *_FILE),
    "dbn": {"act": "sigmoid"} | _without(*_TOLD, "dropout", "ensemble", "embedding", *_MAP, *_FILE),
    "rbm": {"act": "sigmoid"}
    | _without(*_TOLD, "layers", "dropout", "ensemble", "augment", "embedding", "pretrain", *_MAP, *_FILE),
    "autoencoder": _without(*_TOLD, "ensemble", "augment", "pretrain", *_MAP, *_FILE),
    "vae": _without(*_TOLD, "dropout", "ensemble", "augment", "pretrain", *_MAP, *_FILE),
    "som": _without(
        *_RULE, *_TOLD, "hidden", "layers", "ensemble", "augment", "embedding", "pretrain", *_FILE
    ),
}
OF_PICTURES = {
    "hopfield": "pictures as minima of an energy (Hopfield, 1982)",
    "modern-hopfield": "the same by attention to pictures (Ramsauer et al., 2020)",
}
_REMEMBERED = _without(*_RULE, *_TOLD, "hidden", "layers", "epochs", "patience")
REMEMBERED: dict[str, dict[str, Any]] = {
    "hopfield": _REMEMBERED,
    "modern-hopfield": _REMEMBERED | {"rule": None},
}
# LeCun et al., 1998, did 20 passes by gradient descent with a step size for each weight; momentum
# takes its place.
_LENET = {"optimizer": "sgd", "momentum": 0.9, "lr": 0.05, "schedule": "cosine", "weight_decay": 5e-4}
# As He et al., 2016, section 4.2, in fewer epochs.
_RESNET = {"optimizer": "sgd", "momentum": 0.9, "lr": 0.1, "schedule": "cosine", "weight_decay": 1e-4}
_ADAM = {"optimizer": "adam", "lr": 0.001, "weight_decay": 0.0, "batch_size": 128, "epochs": 20}
_CHOSEN: dict[str, dict[str, Any]] = {
    "lenet": _LENET | {"batch_size": 64, "epochs": 15},
    **dict.fromkeys(RESNETS, _RESNET | {"batch_size": 128, "epochs": 30, "warmup": 1}),
    "mlp": _ADAM | {"hidden": 500, "layers": 2, "dropout": 0.2},
    "perceptron": {"epochs": 20},
    "rbf": {"hidden": 300},
    "dbn": _ADAM | {"hidden": 500, "layers": 3, "batch_size": 20, "pretrain": 10, "epochs": 40},
    "rbm": {"optimizer": "sgd", "lr": 0.05, "momentum": 0.5, "weight_decay": 0.0}
    | {"batch_size": 20, "hidden": 256, "epochs": 40},
    "autoencoder": _ADAM | {"hidden": 500, "layers": 3, "embedding": 30, "dropout": 0.0, "epochs": 40},
    "vae": _ADAM | {"hidden": 400, "layers": 2, "embedding": 20, "epochs": 40},
    "som": {"map": "10x10", "lattice": "square", "epochs": 20},
}
PRESETS = {model: FIXED[model] | chosen for model, chosen in _CHOSEN.items()}
