from collections.abc import Callable, Sequence
from typing import Any, overload

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
def set_bfloat16(number: int, /) -> None: ...
def add_bfloat16_loop(
    ufunc: np.ufunc, types: str, loop: int, data: int, /
) -> None: ...
def set_rows(run: int, /) -> None: ...
def set_loss(check_labels: int, run: int, /) -> None: ...
@overload
def call_loss(logits: Any, targets: Any, /) -> Any: ...
@overload
def call_loss(logits: Any, targets: Any, dy: Any, out: Any, /) -> Any: ...
def set_compiler(function: Callable[[int], None], /) -> int: ...

class Function:
    def __init__(
        self,
        standard: np.ufunc | None,
        general: np.ufunc,
        python: Callable[..., Any],
        array_count: int,
        names: tuple[str, ...],
        defaults: tuple[float | None, ...],
        requirements: tuple[tuple[int, bool, int, float], ...],
        /,
    ) -> None: ...
    def __call__(self, *arguments: Any, **keywords: Any) -> Any: ...
    @classmethod
    def along_axis(
        cls,
        find: Callable[[], np.ufunc],
        python: Callable[..., Any],
        array_count: int,
        how: int,
        /,
    ) -> Function: ...
