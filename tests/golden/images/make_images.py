#!/usr/bin/env python3
"""Makes this folder's JSON files: images in every form that is read, and what Pillow gives for them.

    make_images.py SHARED_DATA

Made with Pillow 12.0.0, xxhash 4.1.0 (Pillow 13 resizes down before across where that is less work, and gives other pixels then). SHARED_DATA: the folder of the large test data.

decode.json: small files made here, each with the pixels of ImageOps.exif_transpose(Image.open(file)).convert("RGB") (base64,
rows of red, green and blue). resize.json: one of them resized by Image.resize. shared.json: of the files of SHARED_DATA
the size and the XXH64 of the same pixels, or null where Pillow reads no first frame.
"""

import base64
import io
import json
import pathlib
import struct
import sys
import zlib

import xxhash
from PIL import Image, ImageOps

HERE = pathlib.Path(__file__).parent
SHARED = pathlib.Path(sys.argv[1])


def picture(width, height):
    """Gradients, an edge and a little of every color."""
    image = Image.new("RGB", (width, height))
    for y in range(height):
        for x in range(width):
            edge = 90 if (x - width / 2) ** 2 + (y - height / 3) ** 2 < width else 0
            image.putpixel((x, y), ((x * 255 // width + edge) % 256, y * 255 // height, (x * y * 7 + edge) % 256))
    return image


def saved(image, format, **options):
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def png(width, height, depth, color, rows, interlaced=False, chunks=b""):
    """A PNG file with rows of unfiltered bytes; with Adam7, `rows` is a function of (x, y) giving a pixel's bytes."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    data = b""
    if interlaced:
        for x0, y0, dx, dy in [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]:
            for y in range(y0, height, dy):
                row = b"".join(rows(x, y) for x in range(x0, width, dx))
                data += b"\0" + row if row else b""
    else:
        data = b"".join(b"\0" + row for row in rows)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlaced))
            + chunks + chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b""))


def with_orientation(image, orientation, format, **options):
    exif = Image.Exif()
    exif[274] = orientation
    return saved(image, format, exif=exif, **options)


def gif_canvas(canvas, offset, frame, transparent=None):
    """A GIF whose first frame covers a part of its canvas."""
    data = bytearray(saved(frame, "GIF", **({} if transparent is None else {"transparency": transparent})))
    data[6:10] = struct.pack("<HH", *canvas)
    at = data.index(b"\x2c" + struct.pack("<HHHH", 0, 0, *frame.size))
    data[at + 1:at + 5] = struct.pack("<HH", *offset)
    return bytes(data)


def files():
    rgb = picture(23, 17)
    alpha = rgb.convert("L").point(lambda v: 255 - v)
    rgba = rgb.copy()
    rgba.putalpha(alpha)
    palette = rgb.quantize(20)
    wide = [[struct.pack(">H", (x * 2911 + y * 977) % 65536) for x in range(9)] for y in range(7)]
    small = [[struct.pack(">H", (x * 31 + y * 17) % 320) for x in range(9)] for y in range(7)]
    made = {
        "jpeg": saved(rgb, "JPEG", quality=90),
        "jpeg-444": saved(rgb, "JPEG", quality=95, subsampling=0),
        "jpeg-422": saved(rgb, "JPEG", quality=80, subsampling=1),
        "jpeg-progressive": saved(rgb, "JPEG", quality=85, progressive=True),
        "jpeg-grey": saved(rgb.convert("L"), "JPEG", quality=90),
        "jpeg-cmyk": saved(rgb.convert("CMYK"), "JPEG", quality=90),
        "jpeg-rgb": saved(rgb, "JPEG", quality=90, keep_rgb=True),
        "png-rgb": saved(rgb, "PNG"),
        "png-rgba": saved(rgba, "PNG"),
        "png-grey": saved(rgb.convert("L"), "PNG"),
        "png-grey-alpha": saved(rgba.convert("LA"), "PNG"),
        "png-1-bit": saved(rgb.convert("1"), "PNG"),
        "png-palette": saved(palette, "PNG"),
        "png-palette-transparent": saved(palette, "PNG", transparency=3),
        "png-palette-4-bit": saved(rgb.quantize(9), "PNG", bits=4),
        "png-2-bit-grey": png(8, 2, 2, 0, [b"\x1b\xe4", b"\xff\x00"]),
        "png-4-bit-grey": png(6, 2, 4, 0, [b"\x01\x23\x45", b"\xfe\xdc\xba"]),
        "png-16-bit-grey": png(9, 7, 16, 0, [b"".join(row) for row in wide]),
        "png-16-bit-dark-grey": png(9, 7, 16, 0, [b"".join(row) for row in small]),
        "png-16-bit-grey-alpha": png(3, 7, 16, 4, [b"".join(row[:6]) for row in wide]),
        "png-16-bit-rgb": png(3, 7, 16, 2, [b"".join(row) for row in wide]),
        "png-16-bit-rgba": png(2, 7, 16, 6, [b"".join(row[:8]) for row in wide]),
        "png-interlaced": png(23, 17, 8, 2, lambda x, y: bytes(rgb.getpixel((x, y))), interlaced=True),
        "png-interlaced-16-bit-grey": png(9, 7, 16, 0, lambda x, y: small[y][x], interlaced=True),
        "png-orientation-6": with_orientation(rgb, 6, "PNG"),
        "webp-lossy": saved(rgb, "WEBP", quality=80),
        "webp-lossless": saved(rgb, "WEBP", lossless=True),
        "webp-alpha": saved(rgba, "WEBP", lossless=True, exact=True),
        "webp-lossy-alpha": saved(rgba, "WEBP", quality=70),
        "webp-animated": saved(rgb, "WEBP", lossless=True, save_all=True, append_images=[rgb.rotate(180)]),
        "webp-orientation-8": with_orientation(rgb, 8, "WEBP", lossless=True),
        "gif": saved(palette, "GIF", interlace=0),
        "gif-interlaced": saved(palette, "GIF", interlace=1),
        "gif-animated": saved(palette, "GIF", save_all=True, append_images=[palette.rotate(180)]),
        "gif-transparent": saved(palette, "GIF", transparency=5),
        "gif-grey": saved(rgb.convert("L"), "GIF"),
        "gif-part-of-canvas": gif_canvas((31, 20), (5, 2), palette),
        "gif-part-of-transparent-canvas": gif_canvas((31, 20), (5, 2), palette, transparent=5),
    }
    for orientation in range(1, 9):
        made[f"jpeg-orientation-{orientation}"] = with_orientation(rgb, orientation, "JPEG", quality=90)
    return made


def decode(data):
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    return image.size, image.tobytes()


def encoded(data):
    return base64.b64encode(data).decode()


def write(name, rows):
    with open(HERE / name, "w", encoding="utf-8") as out:
        out.write("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")


def make_decode():
    rows = []
    for name, data in files().items():
        (width, height), pixels = decode(data)
        rows.append({"name": name, "file": encoded(data), "width": width, "height": height, "rgb": encoded(pixels)})
    write("decode.json", rows)


def make_resize():
    image = picture(31, 23)
    rows = [{"width": 31, "height": 23, "rgb": encoded(image.tobytes())}]
    for filter in sorted(Image.Resampling)[:6]:  # newer ones are in no model's files
        for size in [(9, 7), (31, 10), (15, 23), (40, 35), (3, 45), (1, 1), (31, 23)]:
            rows.append({"filter": int(filter), "width": size[0], "height": size[1],
                         "rgb": encoded(image.resize(size, filter).tobytes())})
    # Places of the nearest pixel that are whole numbers, but for what is lost where steps are added up.
    image = picture(64, 1)
    rows.append({"width": 64, "height": 1, "rgb": encoded(image.tobytes())})
    for size in [(28, 1), (33, 1), (60, 1)]:
        rows.append({"filter": 0, "width": size[0], "height": size[1], "rgb": encoded(image.resize(size, 0).tobytes())})
    write("resize.json", rows)


def make_shared():
    rows = []
    names = sorted(p for s in ("img-formats", "img-captioned", "img-clothing-validation") for p in (SHARED / s).rglob("*"))
    for path in names:
        if path.suffix.lower() not in {".png", ".jpg", ".jpeg", ".gif", ".webp"}:
            continue
        row = {"file": str(path.relative_to(SHARED))}
        try:
            (row["width"], row["height"]), pixels = decode(path.read_bytes())
            row["hash"] = xxhash.xxh64(pixels).hexdigest()
        except OSError:
            row["hash"] = None
        rows.append(row)
    write("shared.json", rows)


make_decode()
make_resize()
make_shared()
