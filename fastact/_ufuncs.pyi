from collections.abc import Callable, Sequence

import numpy as np

def make_ufunc(
    name: str,
    doc: str,
    input_count: int,
    output_count: int,
    types: bytes,
    loops: Sequence[int],
    data: Sequence[int],
    signature: str | None,
    /,
) -> np.ufunc: ...
def set_compiler(function: Callable[[int], None], /) -> int: ...
