from __future__ import annotations

import io
import struct
import sys
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from synthbank.data import DecodeLimits, decode_image
from synthbank.records import Severity


def checks_of(decoded):
    return {f.check: f.severity for f in decoded.findings}


def refusal(data: bytes, name: str = "a.png", limits: DecodeLimits | None = None) -> str:
    decoded = decode_image(data, name, limits)
    assert decoded.pixels is None
    assert decoded.findings[-1].severity is Severity.REJECT
    return decoded.findings[-1].check


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("kind", "name"), [("PNG", "a.png"), ("TIFF", "a.tif"), ("BMP", "A.BMP"), ("PNG", "a")])
def test_lossless_formats_keep_every_pixel(picture, encoded, kind, name):
    image = picture(1, 40, 50)
    decoded = decode_image(encoded(image, kind), name)
    assert decoded.findings == ()
    np.testing.assert_array_equal(decoded.pixels, image.transpose(2, 0, 1))


def test_jpeg_is_close(picture, encoded):
    image = picture(1)
    decoded = decode_image(encoded(image, "JPEG", quality=95), "a.jpg")
    assert decoded.findings == ()
    assert np.abs(decoded.pixels.astype(int) - image.transpose(2, 0, 1)).mean() < 8


def test_grey_stays_one_channel(picture, encoded):
    decoded = decode_image(encoded(picture(1)[..., 0]), "a.png")
    assert decoded.pixels.shape == (1, 64, 64)
    assert decoded.findings == ()


@pytest.mark.parametrize(
    ("data", "check"),
    [
        (b"", "empty_file"),
        (b"id,class\n1,a\n", "not_an_image"),
        (b"<!DOCTYPE html><html>404</html>", "not_an_image"),
        (b"\x00\x01\x02\x03" * 9, "not_an_image"),
        (b"PK\x03\x04" + bytes(40), "not_an_image"),
        (b"<svg xmlns='x'><script/></svg>", "unsupported_format"),
        (b"GIF89a" + bytes(40), "unsupported_format"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "unsupported_format"),
        (bytes(128) + b"DICM", "unsupported_format"),
        (b"\xff\xd8\xff\xe0" + bytes(20), "truncated"),
        (b"\x89PNG\r\n\x1a\n", "truncated"),
        (b"BM" + bytes(3), "corrupt"),
        (b"II*\0" + bytes(30), "corrupt"),
    ],
)
def test_what_is_no_readable_image_is_refused(data, check):
    assert refusal(data) == check


def test_truncated_files_are_refused(picture, encoded):
    png, jpeg = encoded(picture(1)), encoded(picture(1), "JPEG")
    assert refusal(png[: len(png) // 2]) == "truncated"
    assert refusal(jpeg[: len(jpeg) // 2], "a.jpg") == "truncated"


def test_any_cut_or_flipped_byte_gives_an_answer(picture, encoded):
    rng = np.random.default_rng(0)
    for kind in ("PNG", "JPEG", "TIFF", "BMP"):
        whole = encoded(picture(1, 16, 16), kind)
        for _ in range(25):
            data = bytearray(whole[: rng.integers(1, len(whole) + 1)])
            data[rng.integers(len(data))] ^= 255
            decoded = decode_image(bytes(data), "a.png")
            assert decoded.pixels is not None or decoded.findings


def test_a_damaged_byte_in_a_png_is_seen(picture, encoded):
    data = bytearray(encoded(picture(1)))
    data[len(data) // 2] ^= 1
    assert refusal(bytes(data)) == "corrupt"


@pytest.mark.parametrize("side", [9_000, 60_000])
def test_bombs_are_refused_by_their_header(side):
    assert refusal(png_header(side, side)) == "pixel_limit"


def test_limits_are_the_callers(picture, encoded):
    data = encoded(picture(1))
    assert refusal(data, limits=DecodeLimits(max_pixels=64 * 63)) == "pixel_limit"
    assert refusal(data, limits=DecodeLimits(max_bytes=100)) == "file_size"


def test_text_bomb_is_refused(picture, encoded):
    info = PngImagePlugin.PngInfo()
    info.add_text("note", "x" * 3_000_000, zip=True)
    assert refusal(encoded(picture(1), pnginfo=info)) == "corrupt"


def test_content_under_another_ending_is_warned(picture, encoded):
    assert checks_of(decode_image(encoded(picture(1), "JPEG"), "a.png")) == {"extension": Severity.WARN}


def test_exif_orientation_is_applied(picture, encoded):
    image = picture(1, 20, 30)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its left: turn clockwise
    for kind, name in (("PNG", "a.png"), ("TIFF", "a.tif")):
        decoded = decode_image(encoded(image, kind, exif=exif), name)
        assert checks_of(decoded)["exif_orientation"] is Severity.CONVERT
        np.testing.assert_array_equal(decoded.pixels, np.rot90(image, -1).transpose(2, 0, 1))


def test_metadata_is_named_but_not_told(picture, encoded):
    info = PngImagePlugin.PngInfo()
    info.add_text("Patient", "Jane Invented")
    exif = Image.Exif()
    exif[315] = "Jane Invented"
    exif.get_ifd(0x8825)[2] = (52.0, 1.0, 2.0)
    for decoded in (
        decode_image(encoded(picture(1), pnginfo=info), "a.png"),
        decode_image(encoded(picture(1), "JPEG", exif=exif), "a.jpg"),
    ):
        assert checks_of(decoded) == {"metadata_dropped": Severity.CONVERT}
        assert "Jane" not in str(decoded.findings)
    assert "GPS" in decoded.findings[0].message


def test_transparent_pixels_become_white(encoded):
    rgba = np.full((8, 8, 4), 100, np.uint8)
    rgba[:4, :, 3] = 0
    rgba[4:, :, 3] = 255
    decoded = decode_image(encoded(rgba), "a.png")
    assert checks_of(decoded) == {"alpha": Severity.CONVERT}
    assert (decoded.pixels[:, :4] == 255).all()
    assert (decoded.pixels[:, 4:] == 100).all()


@pytest.mark.parametrize(
    ("mode", "check", "channels"), [("LA", "alpha", 1), ("P", "colour_mode", 3), ("1", "colour_mode", 1)]
)
def test_other_modes_are_converted(picture, encoded, mode, check, channels):
    decoded = decode_image(encoded(Image.fromarray(picture(1)).convert(mode)), "a.png")
    assert checks_of(decoded) == {check: Severity.CONVERT}
    assert decoded.pixels.shape == (channels, 64, 64)


def test_cmyk_jpeg(encoded):
    decoded = decode_image(encoded(Image.new("CMYK", (8, 8), (0, 0, 0, 0)), "JPEG"), "a.jpg")
    assert checks_of(decoded)["colour_mode"] is Severity.CONVERT
    assert (decoded.pixels > 250).all()


@pytest.mark.parametrize(("high", "bits"), [(200, 8), (4000, 12), (65535, 16)])
def test_16_bit_grey_is_scaled_by_its_depth(encoded, high, bits):
    array = np.linspace(0, high, 64).astype(np.uint16).reshape(8, 8)
    decoded = decode_image(encoded(array), "a.png")
    (finding,) = decoded.findings
    assert (finding.check, finding.value) == ("bit_depth", high)
    assert f"0..{high}" in finding.message
    np.testing.assert_array_equal(decoded.pixels[0], np.rint(array * (255 / (2**bits - 1))))


def test_float_tiff(encoded):
    unit = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    decoded = decode_image(encoded(unit, "TIFF"), "a.tif")
    assert checks_of(decoded) == {"bit_depth": Severity.CONVERT}
    np.testing.assert_array_equal(decoded.pixels[0], np.rint(unit * 255))
    unit[0, 0] = np.nan
    assert refusal(encoded(unit, "TIFF"), "a.tif") == "not_finite"


def tiff_bytes(array: np.ndarray, **options) -> bytes:
    tifffile = pytest.importorskip("tifffile")
    stream = io.BytesIO()
    tifffile.imwrite(stream, array, metadata=None, software=False, **options)
    return stream.getvalue()


def test_16_bit_rgb_tiff_is_read_by_tifffile():
    array = np.arange(8 * 8 * 3, dtype=np.uint16).reshape(8, 8, 3) * 300
    for data in (
        tiff_bytes(array, photometric="rgb"),
        tiff_bytes(array.transpose(2, 0, 1), photometric="rgb", planarconfig="separate"),
    ):
        decoded = decode_image(data, "a.tif")
        assert checks_of(decoded) == {"bit_depth": Severity.CONVERT}
        np.testing.assert_array_equal(decoded.pixels, np.rint(array * (255 / 65535)).transpose(2, 0, 1))


def test_five_channels_are_refused():
    array = np.zeros((5, 16, 16), np.uint16)
    assert refusal(tiff_bytes(array, photometric="minisblack", planarconfig="separate"), "a.tif") == "channels"


def test_without_tifffile_the_refusal_names_it(monkeypatch):
    data = tiff_bytes(np.zeros((16, 16, 5), np.uint16), photometric="minisblack", planarconfig="contig")
    monkeypatch.setitem(sys.modules, "tifffile", None)
    assert "tifffile" in decode_image(data, "a.tif").findings[-1].message


def test_first_page_of_several(picture, encoded):
    pages = [Image.fromarray(picture(i)) for i in range(3)]
    decoded = decode_image(encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:]), "a.tif")
    (finding,) = decoded.findings
    assert (finding.check, finding.severity, finding.value) == ("several_frames", Severity.WARN, 3.0)
    np.testing.assert_array_equal(decoded.pixels, picture(0).transpose(2, 0, 1))
