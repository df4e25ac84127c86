"""A dense layer in C or Cython that calls fastact's kernels without Python in between.

    python examples/c_kernels/dense_layer.py gelu            # dense_layer.c, by ctypes
    python examples/c_kernels/dense_layer.py silu --cython   # cython_layer.pyx

Python hands over the addresses of two kernels once; from then on C calls C. The program
compiles the layer into a temporary folder (with $CC, else cc), runs it forward and
backward, and compares with the same layer in NumPy.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.machinery
import importlib.util
import os
import shlex
import subprocess
import sysconfig
import tempfile
from pathlib import Path

import numpy as np

import fastact as fa

HERE = Path(__file__).parent
BATCH, INPUTS, OUTPUTS = 64, 30, 50


def kernel_address(name, arrays):
    """The address of a kernel of `fa.lib`, such as "fa_gelu_f32"; it never changes.

    `arrays`: how many it will be called with, inputs and outputs.
    """
    # C cannot know whether a function takes the arguments that it is called with.
    given = len(fa.ffi.typeof(getattr(fa.lib, name)).args)
    if given != 1 + arrays:
        raise ValueError(f"{name} takes {given - 1} arrays, this layer passes {arrays}")
    return int(fa.ffi.cast("uintptr_t", fa.ffi.addressof(fa.lib, name)))


def compile_shared(source, target, *options):
    """Compile a C file to a shared library."""
    compiler = shlex.split(os.environ.get("CC", "cc"))
    command = [*compiler, "-O2", "-shared", "-fPIC", *options, source, "-o", target]
    subprocess.run(command, check=True)


class CLayer:
    """dense_layer.c, called by ctypes."""

    def __init__(self, folder):
        library = folder / "dense_layer.so"
        compile_shared(HERE / "dense_layer.c", library, "-Wall", "-Wextra", "-Werror")
        self.functions = ctypes.CDLL(library)

    def forward(self, activation, x, w, b, before, y):
        """y = activation(x w + b), of which `before` keeps x w + b."""
        self._call("dense_forward", activation, w.shape, x, w, b, before, y)

    def backward(self, activation, x, before, dy, dw, db):
        """Gradients of w and b; dy becomes that of the values before the activation."""
        self._call("dense_backward", activation, dw.shape, x, before, dy, dw, db)

    def _call(self, name, activation, shape, x, *arrays):
        sizes = map(ctypes.c_size_t, (len(x), *shape))
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in (x, *arrays)]
        getattr(self.functions, name)(ctypes.c_void_p(activation), *sizes, *pointers)


class CythonLayer:
    """cython_layer.pyx, a module."""

    def __init__(self, folder):
        from Cython.Compiler.Main import CompilationOptions, compile

        name = "cython_layer"
        c_file = folder / f"{name}.c"
        options = CompilationOptions(output_file=str(c_file))
        if compile(
            str(HERE / f"{name}.pyx"), options, full_module_name=name
        ).num_errors:
            raise RuntimeError(f"Cython could not translate {name}.pyx")
        target = folder / (name + importlib.machinery.EXTENSION_SUFFIXES[0])
        compile_shared(c_file, target, f"-I{sysconfig.get_path('include')}")
        spec = importlib.util.spec_from_file_location(name, target)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self.forward, self.backward = module.dense_forward, module.dense_backward


def train_step(layer, activation, x, w, b, dy):
    """What a layer gives, and its gradients: y, dw, db, by the kernels of a name."""
    before = np.empty((len(x), w.shape[1]), np.float32)
    y, dw, db = np.empty_like(before), np.empty_like(w), np.empty_like(b)
    gradient = dy.copy()
    forward = kernel_address(f"fa_{activation}_f32", arrays=2)
    backward = kernel_address(f"fa_{activation}_backward_f32", arrays=3)
    layer.forward(forward, x, w, b, before, y)
    layer.backward(backward, x, before, gradient, dw, db)
    return y, dw, db


def in_numpy(activation, x, w, b, dy):
    """The same with NumPy's products and fastact's ufuncs."""
    function = fa.get(activation)
    before = x @ w + b
    gradient = function.backward(dy, before)
    return function(before), x.T @ gradient, gradient.sum(axis=0)


def problem(rng):
    """Arrays to try it on: x, w, b, dy."""
    shapes = (BATCH, INPUTS), (INPUTS, OUTPUTS), (OUTPUTS,), (BATCH, OUTPUTS)
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("activation", help="without parameters: gelu, silu, tanh, ...")
    parser.add_argument("--cython", action="store_true", help="Cython in place of C")
    options = parser.parse_args()
    if options.cython and importlib.util.find_spec("Cython") is None:
        parser.error("--cython needs Cython: pip install cython")
    if not hasattr(fa.lib, f"fa_{options.activation}_f32"):
        parser.error(f"fa.lib has no kernel fa_{options.activation}_f32")
    arrays = problem(np.random.default_rng(0))
    with tempfile.TemporaryDirectory() as folder:
        layer = (CythonLayer if options.cython else CLayer)(Path(folder))
        try:
            found = train_step(layer, options.activation, *arrays)
        except ValueError as error:
            parser.error(f"{error}; choose an activation without parameters")
        expected = in_numpy(options.activation, *arrays)
    for name, ours, numpys in zip(("y", "dw", "db"), found, expected, strict=True):
        difference = float(np.abs(ours - numpys).max())
        print(f"{name:2}  largest difference from NumPy: {difference:.1e}")


if __name__ == "__main__":
    main()
