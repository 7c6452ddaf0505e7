"""Image files before they are data: found in folders and archives, read, decoded by several processes.

Nothing here imports torch: a process that only decodes starts in a third of a second.
"""

from bench.images.archives import list_tar
from bench.images.bins import BinPairs, read_bin
from bench.images.decode import MIN_SIDE_PX, UnreadableImageError, decode_image
from bench.images.files import Blobs, ImageFiles
from bench.images.folders import list_folder
from bench.images.parallel import Decoded, decode_all, num_workers
from bench.images.records import is_records, list_records

__all__ = [
    "MIN_SIDE_PX",
    "BinPairs",
    "Blobs",
    "Decoded",
    "ImageFiles",
    "UnreadableImageError",
    "decode_all",
    "decode_image",
    "is_records",
    "list_folder",
    "list_records",
    "list_tar",
    "num_workers",
    "read_bin",
]
