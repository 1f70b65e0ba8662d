import numpy as np
from numpy.typing import NDArray

from . import coo_matrix, csr_matrix

def connected_components(
    csgraph: csr_matrix | coo_matrix, *, directed: bool = ...
) -> tuple[int, NDArray[np.int32]]: ...
