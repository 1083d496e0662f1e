"""The public names of `mpnn.train.estimators`."""

from mpnn.train.estimators.perceptron import KernelPerceptron, Perceptron
from mpnn.train.estimators.rbf_network import RBFClassifier, RBFNetwork
from mpnn.train.estimators.rbm import RBM
from mpnn.train.estimators.som import SOM

__all__ = ["RBM", "SOM", "KernelPerceptron", "Perceptron", "RBFClassifier", "RBFNetwork"]
