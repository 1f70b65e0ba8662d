from typing import Any

import numpy as np
from numpy.typing import NDArray

def uniform_filter(input: NDArray[Any], size: int, *, mode: str = ..., cval: float = ...) -> NDArray[np.float32]: ...
