"""Mistakes that type checkers must see, each marked: tests/test_typing.py compares."""

import numpy as np

import fastact as fa

x = np.zeros((2, 2), np.float32)
fa.gelu()  # mistake
fa.gelu(x, ouput=x)  # mistake
fa.gelu(x, casting="any")  # mistake
fa.gelu_backward(x)  # mistake
fa.leaky_relu(x, slope=0.1)  # mistake
fa.softmax(x, 0, x > 0)  # mistake
fa.maxout(x)  # mistake
fa.swiglu_packed(x, gate="third")  # mistake
fa.crelu.forward(x)  # mistake
fa.softmax_cross_entropy(x, x, reduction="average")  # mistake
fa.set_num_threads("2")  # mistake
fa.set_backend("cuda")  # mistake
fa.gelu.nin = 2  # mistake
count: str = fa.get_num_threads()  # mistake
fa.no_such_function(x)  # mistake
fa.init.he_normal("abc")  # mistake
