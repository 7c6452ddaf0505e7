import numpy as np
from PIL import Image

from bench.data.pair_sheet import hardest_pairs_sheet


def test_the_sheet_shows_the_images_of_the_worst_pairs_in_their_rows() -> None:
    colours = np.array([[250, 0, 0], [0, 250, 0], [0, 0, 250], [250, 250, 0]], np.uint8)
    images = np.broadcast_to(colours[:, :, None, None], (4, 3, 32, 32))
    left, right = np.array([0, 2, 0]), np.array([1, 3, 2])
    sheet = hardest_pairs_sheet(
        lambda index: images[index],
        left,
        right,
        np.array([0.2, 0.9, 0.4]),
        np.array([False, True, True]),
        threshold=0.5,
    )
    row, cell = sheet.height // 3, sheet.width // 8
    first = [sheet.getpixel((50, row * number + 60)) for number in range(3)]
    second = [sheet.getpixel((150, row * number + 60)) for number in range(3)]
    # red, green: the false accept; blue, yellow: the false reject; red, blue: nearest to 0.5
    assert first == [(250, 0, 0), (0, 0, 250), (250, 0, 0)]
    assert second == [(0, 250, 0), (250, 250, 0), (0, 0, 250)]
    assert sheet.getpixel((cell + 50, 60)) == (255, 255, 255)  # there is one false accept only


def test_the_sheet_without_errors_says_so_and_is_of_the_same_size() -> None:
    images = np.zeros((2, 3, 16, 16), np.uint8)
    one, none = (
        hardest_pairs_sheet(
            lambda index: images[index],
            np.array([0, 0]),
            np.array([1, 1]),
            np.array(distances),
            np.array([True, False]),
            threshold=0.5,
        )
        for distances in ([0.9, 0.1], [0.1, 0.9])
    )
    assert isinstance(none, Image.Image)
    assert none.size == one.size
    assert none.tobytes() != one.tobytes()
