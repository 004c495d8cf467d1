"""Images come out as RGB whatever they hold, and what is no image is refused with a reason."""

import io
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.unit.image.drawn import EPS, SVG, encoded, gradient, png_header_only
from workers.errors import MessageError
from workers.image.decode import Decoder

MEGAPIXELS = 120_000_000


@pytest.fixture
def decoder() -> Decoder:
    return Decoder(max_bytes=2**25, max_pixels=MEGAPIXELS)


def reason(decoder: Decoder, content: bytes) -> str:
    with pytest.raises(MessageError) as caught:
        decoder.decode(content)
    return caught.value.reason


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF"])
def test_lossless_formats_give_their_pixels(decoder, kind):
    image = gradient().quantize(64).convert("RGB")
    decoded = decoder.decode(encoded(image, kind))
    assert (decoded.width, decoded.height) == (64, 48)
    assert np.abs(decoded.pixels.astype(int) - np.asarray(image)).max() <= 1


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_lossy_formats_come_close(decoder, kind):
    decoded = decoder.decode(encoded(gradient(), kind, quality=95))
    assert np.abs(decoded.pixels.astype(int) - np.asarray(gradient())).mean() < 4


def test_sixteen_bits_are_scaled_not_cut_off(decoder):
    grey = (np.arange(64 * 48, dtype=np.uint32) * 65_535 // (64 * 48 - 1)).astype(np.uint16).reshape(48, 64)
    pixels = decoder.decode(encoded(Image.fromarray(grey))).pixels
    assert (pixels[0, 0, 0], pixels[-1, -1, 0]) == (0, 255)
    assert abs(int(pixels[24, 0, 0]) - 128) <= 2


@pytest.mark.parametrize("mode", ["I;16", "F", "I"])
def test_wide_tiff_becomes_eight_bits(decoder, mode):
    values = np.linspace(0, 1 if mode == "F" else 65_535, 64 * 48).reshape(48, 64)
    kind = {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
    pixels = decoder.decode(encoded(Image.fromarray(values.astype(kind)), "TIFF")).pixels
    assert (pixels.min(), pixels.max()) == (0, 255)


def test_transparency_lies_over_white(decoder):
    image = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    image.putpixel((3, 4), (255, 0, 0, 255))
    pixels = decoder.decode(encoded(image)).pixels
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[4, 3].tolist() == [255, 0, 0]


def test_palette_with_a_transparent_colour(decoder):
    image = Image.new("P", (4, 4), 0)
    image.putpalette([0, 0, 0, 10, 200, 30])
    image.putpixel((1, 1), 1)
    pixels = decoder.decode(encoded(image, "PNG", transparency=0)).pixels
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[1, 1].tolist() == [10, 200, 30]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK", "YCbCr", "LAB"])
def test_every_mode_gives_rgb(decoder, mode):
    image = gradient().convert("RGBA").convert("P") if mode == "P" else None
    image = image or (gradient().convert("L").convert("LA") if mode == "LA" else None)
    if image is None and mode == "LAB":
        image = Image.new("LAB", (64, 48), (128, 128, 128))
    image = image or gradient().convert(mode)
    pixels = decoder.decode(encoded(image, "PNG" if mode in ("1", "L", "LA", "P") else "TIFF")).pixels
    assert pixels.shape == (48, 64, 3)
    assert pixels.dtype == np.uint8


def test_cmyk_jpeg(decoder):
    pixels = decoder.decode(encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG")).pixels
    red, green, blue = pixels[8, 8].tolist()
    assert red > 200
    assert max(green, blue) < 80


def test_one_pixel(decoder):
    decoded = decoder.decode(encoded(Image.new("L", (1, 1), 7)))
    assert decoded.pixels.tolist() == [[[7, 7, 7]]]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_of_an_animation_counts(decoder, kind):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert decoder.decode(content).pixels[8, 8].tolist() == [255, 0, 0]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_the_image(decoder, orientation):
    image = gradient(32, 16)
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(image, "PNG", exif=exif)
    from PIL import ImageOps

    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB")
    decoded = decoder.decode(content)
    assert (decoded.width, decoded.height) == expected.size
    assert np.array_equal(decoded.pixels, np.asarray(expected))


def test_a_turned_jpeg_in_draft_mode_keeps_its_scale():
    exif = Image.Exif()
    exif[0x0112] = 6
    decoded = Decoder(2**25, MEGAPIXELS, target_px=100).decode(
        encoded(gradient(1600, 800), "JPEG", exif=exif)
    )
    assert (decoded.width, decoded.height) == (800, 1600)
    assert 100 <= decoded.pixels.shape[1] < 250
    assert decoded.scale == pytest.approx(800 / decoded.pixels.shape[1])


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_a_target_size_reduces_other_formats_too(kind):
    decoded = Decoder(2**25, MEGAPIXELS, target_px=100).decode(encoded(gradient(1600, 800), kind))
    assert (decoded.width, decoded.height) == (1600, 800)
    assert 100 <= decoded.pixels.shape[0] < 200


def test_a_large_image_within_the_cap(decoder):
    image = Image.new("1", (12_000, 9_000), 1)
    decoded = decoder.decode(encoded(image))
    assert decoded.pixels.shape == (9_000, 12_000, 3)


def test_too_many_pixels_are_refused_before_decoding(decoder):
    assert reason(decoder, png_header_only(30_000, 30_000)) == "image_too_large"
    assert reason(decoder, png_header_only(12_000, 12_000)) == "image_too_large"


def test_too_many_bytes_are_refused():
    assert reason(Decoder(100, 10_000), encoded(gradient())) == "image_too_large"


def test_text_that_swells_is_a_bomb(decoder):
    bomb = zlib.compress(b"\0" * (80 * 2**20), 9)
    content = encoded(gradient())
    data = b"k\0\0" + bomb
    chunk = len(data).to_bytes(4, "big") + b"zTXt" + data + zlib.crc32(b"zTXt" + data).to_bytes(4, "big")
    assert reason(decoder, content[:33] + chunk + content[33:]) == "image_bomb"


@pytest.mark.parametrize("content", [b"", b"hello", SVG, EPS, b"%PDF-1.7", b"\0" * 64, b"RIFF1234WAVEfmt "])
def test_what_is_no_image_is_refused_by_its_content(decoder, content):
    assert reason(decoder, content) == "image_format"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
def test_a_file_cut_off_is_undecodable(decoder, kind):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    content = encoded(noise, kind)
    for share in (0.02, 0.3, 0.6):
        assert reason(decoder, content[: max(16, int(len(content) * share))]) == "image_undecodable"


def test_broken_bytes_never_raise_anything_else(decoder):
    noise = np.random.default_rng(1)
    for kind in ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"):
        content = bytearray(encoded(gradient(), kind))
        for _ in range(60):
            broken = bytearray(content)
            for place in noise.integers(8, len(broken), 6):
                broken[place] = int(noise.integers(256))
            try:
                decoder.decode(bytes(broken))
            except MessageError as error:
                assert error.reason in {"image_undecodable", "image_too_large", "image_bomb", "image_format"}
