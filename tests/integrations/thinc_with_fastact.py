"""A pytest plugin: thinc's own tests run on fastact's backend instead of NumpyOps."""

import thinc.api

from fastact.integrations.thinc import FastactOps

thinc.api.NumpyOps = FastactOps  # before thinc's tests import it
thinc.api.set_current_ops(FastactOps())  # what layers are made with
