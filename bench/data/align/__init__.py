"""Alignment: pictures of people in, faces of one size out, and a report of all that is doubtful.

`source` walks a folder or an archive, `picture` decodes whatever it finds, `detector` finds faces (it alone
knows facenet-pytorch), `geometry` cuts them out, `image` does all of that to one picture, `workers` to many,
`journal` remembers what was done, `report` tells it.
"""

from bench.data.align.run import Summary, align
from bench.data.align.settings import ALIGNMENT, AlignSettings, read_alignment

__all__ = ["ALIGNMENT", "AlignSettings", "Summary", "align", "read_alignment"]
