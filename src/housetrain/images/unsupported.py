"""Formats that are not read: their names by content, and how to convert them.

In: the first bytes of a file, or the reason why one cannot be used. Out: names and commands. It opens no file, and it
does not know the formats that are read.

An unsupported file is intact: nothing is wrong with it, and a conversion makes it usable. A corrupt one is not.
"""

from __future__ import annotations

UNSUPPORTED = "not a supported image"

NEEDS_HEIC = f"{UNSUPPORTED} (HEIC; pillow-heif reads it)"
"""The reason why a HEIC file cannot be used where pillow-heif is not installed."""

_STARTS = (  # files that are common in image folders; they are named, never opened
    (b"%PDF", "PDF"),
    (b"8BPS", "Photoshop"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\x01\0", "ICO"),
    (b"PK\x03\x04", "ZIP"),
    (b"\x1f\x8b", "gzip"),
    (b"Rar!", "RAR"),
    (b"7z\xbc\xaf", "7z"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x93NUMPY", "NumPy array"),
    (b"\x89HDF", "HDF5"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "Office document"),
    (b"v/1\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"SIMPLE  =", "FITS"),
    (b"qoif", "QOI"),
    (b"DDS ", "DDS"),
    (b"icns", "ICNS"),
    (b"\x01\xda", "SGI"),
    (b"gimp xcf", "GIMP"),
    (b"AT&TFORM", "DjVu"),
    (b"FLIF", "FLIF"),
    (b"II\xbc", "JPEG XR"),
    (b"%!PS", "PostScript"),
    (b"\xc5\xd0\xd3\xc6", "PostScript"),
    (b"\xd7\xcd\xc6\x9a", "Windows metafile"),
    (b"\x0a\x05\x01", "PCX"),
    (b"ZISRAWFILE", "microscope image"),
    (b"\x1a\x45\xdf\xa3", "video"),
    (b"BPG\xfb", "BPG"),
    (b"\0MRM", "camera RAW"),
    (b"FUJIFILMCCD-RAW", "camera RAW"),
    (b"FOVb", "camera RAW"),
    (b"IIRO", "camera RAW"),
    (b"IIRS", "camera RAW"),
    (b"IIU\0", "camera RAW"),
    (b"II\x1a\0\0\0HEAPCCDR", "camera RAW"),
    *((b"P%d%c" % (kind, space), "PNM") for kind in range(1, 8) for space in b" \n\r\t#"),
)

_CONVERSIONS = {  # how a reason begins, or what is in its parentheses -> what to do
    "HEIC": "pip install pillow-heif and check again, or convert each: heif-convert photo.heic photo.jpg",
    "camera RAW": "export the photos as JPEG with the program of the camera, or: darktable-cli photo.nef photo.jpg",
    "Photoshop": "export it as PNG, or: magick 'image.psd[0]' image.png",
    "JPEG 2000": "convert it: opj_decompress -i image.jp2 -o image.png",
    "JPEG XL": "convert it: djxl image.jxl image.png",
    "SVG": "convert it: rsvg-convert image.svg -o image.png",
    "ICO": "convert it: magick 'image.ico[0]' image.png",
    "PDF": "convert its pages: pdftoppm -png document.pdf page",
    "DICOM": "convert it, keeping all gray levels: dcmj2pnm +on2 image.dcm image.png",
    "Git LFS pointer": "the file is a pointer to the image; in the folder of the repository: git lfs pull",
    "GIMP": "export it as PNG in GIMP",
    "NIfTI": "save its slices as PNG, for example with med2image",
    "microscope image": "save it as PNG or TIFF, for example with Fiji or bfconvert",
    "PostScript": "convert it: gs -sDEVICE=png16m -r150 -o image.png image.eps",
    "FITS": "convert it: magick image.fits image.png",
    "OpenEXR": "convert it: magick image.exr image.png",
    "Radiance HDR": "convert it: magick image.hdr image.png",
    "PNM": "convert it: magick image.ppm image.png",
    "video": "take images out of it: ffmpeg -i clip.mp4 -vf fps=1 frame-%04d.png",
    "NumPy array": "save each image as PNG, or pass the arrays to housetrain.Prepared.from_arrays",
    "HDF5": "save each image as PNG, or pass the arrays to housetrain.Prepared.from_arrays",
    "table of images": "save each image as PNG or JPEG in a folder of its class: the files hold rows of a table",
    "IDX": "housetrain sample mnist --arrays --source FOLDER (or fashion-mnist) where these are its files; else save "
    "the arrays in Python: numpy.savez('images.npz', x=X, y=y); then: housetrain prepare images.npz",
    "ZIP": "unpack it, or give it alone instead of the folder",
    "gzip": "unpack it",
    "RAR": "unpack it",
    "7z": "unpack it",
    "Office document": "save the images in it as PNG",
    "unsupported TIFF": "convert it: magick image.tif image.png",
    "unsupported JPEG (XYB": "convert it: vips icc_transform image.jpg image.png srgb",
    "unsupported JPEG": "convert it: magick image.jpg image.png",
    "too many pixels": "make it smaller: magick image.png -resize 50% image.jpg",
    "too many scans": "write it again: jpegtran -copy all image.jpg > new.jpg",
    "needs too much memory": "make it smaller: magick image.png -resize 50% image.jpg",
}


def name_of(data: bytes) -> str:
    """Return the name of a format that is not read, or ``""``.

    Args:
        data: A whole file, or at least its first 512 bytes.
    """
    if data[128:132] == b"DICM":
        return "DICOM"
    if data[40:44] == b" EMF" and data[:4] == b"\1\0\0\0":
        return "Windows metafile"
    if data[344:348] in (b"n+1\0", b"ni1\0"):
        return "NIfTI"
    if data[:4] == b"RIFF" and data[8:12] == b"AVI ":
        return "video"
    if data[-18:-2] == b"TRUEVISION-XFILE":
        return "TGA"
    return next((name for start, name in _STARTS if data.startswith(start)), "")


def conversion(reason: str) -> str:
    """Return what makes an intact file usable, or ``""`` where the file is corrupt or not an image.

    Args:
        reason: Why a file cannot be used: `housetrain.errors.DecodeError.reason`.
    """
    if not reason.startswith((UNSUPPORTED, "unsupported", "too many", "needs too much")):
        return ""
    return conversion_of(reason.removeprefix(UNSUPPORTED).lstrip(" (")) or "save it as PNG or JPEG"


def conversion_of(name: str) -> str:
    """Return what makes files of a format usable, by the name of the format; ``""`` for a name that is not known."""
    return next((do for start, do in _CONVERSIONS.items() if name.startswith(start)), "")
