"""The public names of `mpnn.train.estimators`."""

from mpnn.train.estimators.perceptron import KernelPerceptron, Perceptron
from mpnn.train.estimators.rbf_network import RBFClassifier, RBFNetwork

__all__ = ["KernelPerceptron", "Perceptron", "RBFClassifier", "RBFNetwork"]
