import numpy as np
import pytest
from PIL import Image

from synthbank.errors import IntegrityError, OptionError
from synthbank.storage import decode_png, encode_png, read_png_text


@pytest.mark.parametrize("seed", range(40))
def test_round_trip_of_random_images_and_texts(seed):
    rng = np.random.default_rng(seed)
    shape = (int(rng.choice([1, 3])), *map(int, rng.integers(1, 70, 2)))
    pixels = rng.integers(0, 256, shape, dtype=np.uint8)
    alphabet = list("abc XYZ 019 =:/é€клітина漢\n\t|")
    text = {f"Key-{i}": "".join(rng.choice(alphabet, int(rng.integers(0, 60)))) for i in range(int(rng.integers(0, 4)))}
    data = encode_png(pixels, text, level=int(rng.integers(0, 10)))
    np.testing.assert_array_equal(decode_png(data), pixels)
    assert decode_png(data).flags.c_contiguous
    assert read_png_text(data) == text


def test_views_with_any_strides_are_encoded():
    pixels = np.arange(3 * 6 * 4, dtype=np.uint8).reshape(3, 6, 4)[:, ::-1, ::2]
    np.testing.assert_array_equal(decode_png(encode_png(pixels)), pixels)


def test_the_same_pixels_give_the_same_bytes():
    pixels = np.full((3, 8, 8), 7, np.uint8)
    assert encode_png(pixels, {"a": "b"}) == encode_png(pixels.copy(), {"a": "b"})


@pytest.mark.parametrize("shape", [(2, 4, 4), (4, 4, 4), (4, 4), (1, 0, 4), (3, 4, 4, 1)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(OptionError, match="C = 1 or 3"):
        encode_png(np.zeros(shape, np.uint8))


def test_other_types_levels_and_keys_are_refused():
    with pytest.raises(OptionError, match="float32"):
        encode_png(np.zeros((1, 4, 4), np.float32))
    with pytest.raises(OptionError, match="0 to 9"):
        encode_png(np.zeros((1, 4, 4), np.uint8), level=10)
    for key in ("", "k" * 80, "a\0b", "ключ"):
        with pytest.raises(OptionError, match="text key"):
            encode_png(np.zeros((1, 4, 4), np.uint8), {key: "v"})


def test_bytes_that_are_no_whole_png_are_told():
    data = encode_png(np.random.default_rng(0).integers(0, 256, (3, 32, 32), dtype=np.uint8))
    for broken in (b"", b"no image", data[:40], data[: len(data) // 2]):
        with pytest.raises(IntegrityError):
            decode_png(broken)
    with pytest.raises(IntegrityError):
        read_png_text(b"no image")


def test_a_foreign_png_is_not_silently_converted(tmp_path):
    Image.new("RGBA", (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(IntegrityError, match="RGBA"):
        decode_png((tmp_path / "a.png").read_bytes())
