"""Specs for sweeps, as small as they can be."""

RESIDUAL = b"""
archgraph: 1
name: by_depth
params: {depth: 2, width: 4, lam: 1.0, act: ReLU}
inputs: {x: [width]}
blocks:
  block:
    layers:
      a: act()
      F: Linear(width)
      out: lam*input + F
layers:
  h: {op: block(), repeat: depth}
"""

# The op's process ends when its argument is above one.
DYING = b"""
archgraph: 1
params: {grim: 1}
inputs: {x: [4]}
layers:
  fc: Linear(4)
  end: Mortal(grim)
"""

MORTAL = """
import os
import archgraph
from torch import nn

@archgraph.register(elementwise=True)
class Mortal(nn.Module):
    def __init__(self, grim: int = 1):
        super().__init__()
        self.grim = grim

    def forward(self, x):
        if self.grim > 1 and x.device.type != "meta":
            os._exit(9)
        return x * 1.0
"""
