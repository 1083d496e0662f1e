"""Networks with scikit-learn's face: `fit`, `predict`, `score`, `get_params`, on arrays of NumPy.

They are imported with the first use of a name, as scikit-learn takes its time.

>>> from mpnn.train.estimators import Perceptron
>>> Perceptron().fit([[0.0], [1.0]], ["low", "high"]).predict([[0.9]])
array(['high'], dtype='<U4')
"""

from typing import TYPE_CHECKING

from mpnn.lazy import public_names

if TYPE_CHECKING:
    from mpnn.train.estimators.public import *
    from mpnn.train.estimators.public import __all__ as __all__
else:
    __getattr__, __dir__ = public_names(__name__)
