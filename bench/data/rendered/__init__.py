"""Rendered faces: people who do not exist, for a benchmark that needs no download.

A person is some hundred parameters (`identity`), a picture some eighty more (`nuisance`), both from streams
of their own (`streams`). `render` draws them back to front: wall, hair, clothes and ears (`scene`, `hair`),
face (`geometry`, `face`), glasses and hands (`scene`), camera (`camera`). Figures on them are figures on
rendered faces, never on LFW.
"""

from bench.data.rendered.dataset import CALIBRATED, RENDERER_VERSION, rendered

__all__ = ["CALIBRATED", "RENDERER_VERSION", "rendered"]
