"""The public names of `mpnn.train.estimators`."""

from mpnn.train.estimators.perceptron import KernelPerceptron, Perceptron
from mpnn.train.estimators.rbf_network import RBFClassifier, RBFNetwork
from mpnn.train.estimators.rbm import RBM

__all__ = ["RBM", "KernelPerceptron", "Perceptron", "RBFClassifier", "RBFNetwork"]
