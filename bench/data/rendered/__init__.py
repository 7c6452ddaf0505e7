"""Rendered faces: people who do not exist, for a benchmark that needs no download.

A person is a hundred continuous parameters (`identity`), a picture some sixty more (`nuisance`), both from streams of
their own (`streams`). `render` draws them back to front: wall, hair, clothes and ears (`scene`, `hair`), face
(`geometry`, `face`), glasses and hands, camera (`camera`). Results on them are results on rendered faces only.
"""

from bench.data.rendered.dataset import RENDERER_VERSION, rendered, rendered_preview

__all__ = ["RENDERER_VERSION", "rendered", "rendered_preview"]
