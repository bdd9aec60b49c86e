r"""Free fonts that are installed, and their characters as small pictures.

No font travels with the project. Debian's packages and npm's ``@fontsource`` are looked for where
both put them::

    apt-get install fonts-opendin fonts-roadgeek fonts-routed-gothic fonts-bebas-neue \
        fonts-national-park fonts-roboto-unhinted fonts-dejavu fonts-liberation \
        fonts-urw-base35 fonts-wqy-microhei fonts-wqy-zenhei fonts-noto-cjk
    npm install --prefix ~/.local/share/fonts/plates @fontsource/barlow-condensed …
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from edgecnn_runtime.errors import UsageError

CAP = 56
"""Height of a character's picture in pixels."""
SMALL = 22
"""Height of a line of small print in pixels."""
SYSTEM = ("~/.local/share/fonts", "~/.fonts", "/usr/local/share/fonts", "/usr/share/fonts")
SUFFIXES = {".ttf", ".otf", ".ttc", ".woff2"}
FILES: Mapping[str, tuple[str, ...]] = {
    "din": (
        "OSP-DIN", "RG2014EM", "RG2014D",
        "barlow-condensed-latin-500", "barlow-condensed-latin-600",
        "barlow-semi-condensed-latin-500", "barlow-semi-condensed-latin-600",
        "routed-gothic-narrow", "routed-gothic", "share-tech-mono-latin-400",
        "RobotoCondensed-Regular", "RobotoCondensed-Bold", "NationalPark-Regular",
        "saira-semi-condensed-latin-500", "saira-condensed-latin-500", "LiberationSansNarrow-Bold",
        "DejaVuSansCondensed-Bold", "b612-mono-latin-400", "overpass-latin-600",
        "chakra-petch-latin-500", "archivo-narrow-latin-600", "dosis-latin-600",
    ),
    "wide": (
        "RG2014E", "RG2014EM", "RG2014F", "barlow-latin-500", "barlow-latin-600", "Roboto-Medium",
        "overpass-latin-600", "NationalPark-Heavy", "DejaVuSans-Bold", "quantico-latin-700",
        "LiberationSans-Bold", "overpass-mono-latin-600", "b612-mono-latin-700",
        "NotoSansMono-Bold",
        "barlow-semi-condensed-latin-600", "routed-gothic-wide", "routed-gothic",
    ),
    "narrow": (
        "RG2014B", "RG2014C", "barlow-condensed-latin-500", "barlow-condensed-latin-600",
        "BebasNeue-Regular", "BebasNeue-Book", "bebas-neue-latin-400", "oswald-latin-400",
        "oswald-latin-500", "antonio-latin-600", "teko-latin-500", "khand-latin-600",
        "rajdhani-latin-700", "saira-condensed-latin-600", "RobotoCondensed-Bold",
        "routed-gothic-narrow", "OSP-DIN", "league-gothic-latin-400", "fjalla-one-latin-400",
        "yanone-kaffeesatz-latin-400", "ubuntu-condensed-latin-400", "archivo-narrow-latin-600",
    ),
    "us": (
        "RG2014B", "RG2014C", "RG2014D", "barlow-condensed-latin-500", "barlow-condensed-latin-600",
        "barlow-semi-condensed-latin-500", "routed-gothic-narrow", "routed-gothic", "OSP-DIN",
        "saira-condensed-latin-500", "saira-semi-condensed-latin-500", "share-tech-mono-latin-400",
        "rajdhani-latin-600", "rajdhani-latin-700", "RobotoCondensed-Regular", "khand-latin-500",
        "overpass-mono-latin-600", "chakra-petch-latin-500", "archivo-narrow-latin-500",
        "LiberationSansNarrow-Bold", "quantico-latin-400", "dosis-latin-600", "BebasNeue-Book",
    ),
    "square": (
        "saira-semi-condensed-latin-500", "saira-semi-condensed-latin-600", "rajdhani-latin-600",
        "rajdhani-latin-700", "quantico-latin-700", "chakra-petch-latin-500",
        "chakra-petch-latin-600", "share-tech-mono-latin-400", "teko-latin-500", "RG2014D",
        "RG2014E", "NationalPark-Heavy", "OSP-DIN",
    ),
    "cjk": ("NotoSansCJK-Regular", "NotoSansCJK-Bold", "wqy-zenhei", "wqy-microhei"),
    "sans": (
        "barlow-condensed-latin-600", "RobotoCondensed-Bold", "LiberationSans-Bold", "RG2014C",
    ),
    "serif": ("DejaVuSerif-Bold", "LiberationSerif-Bold"),
    "script": ("Z003-MediumItalic", "LiberationSerif-BoldItalic"),
}  # fmt: skip
"""Family of letterforms → the beginnings of file names. One line adds a font."""
ENOUGH = {"serif": 1, "script": 1, "sans": 1, "cjk": 1}
"""How many fonts a family needs; three, if it is not here."""
PACKAGES = (
    "fonts-opendin fonts-roadgeek fonts-routed-gothic fonts-bebas-neue fonts-national-park "
    "fonts-roboto-unhinted fonts-dejavu fonts-liberation fonts-urw-base35 fonts-wqy-microhei"
)
"""Debian's packages that have them."""


@dataclass
class Fonts:
    """The fonts of each family, and the pictures of their characters, made once.

    Attributes:
        files: Family → files.
    """

    files: Mapping[str, tuple[Path, ...]]
    _glyphs: dict[tuple[Path, str], NDArray[np.uint8]] = field(default_factory=dict)
    _opened: dict[Path, ImageFont.FreeTypeFont] = field(default_factory=dict)

    def glyph(self, file: Path, char: str) -> NDArray[np.uint8]:
        """A character's coverage, uint8[CAP,W], W its inked width; shared, not to be written."""
        key = (file, char)
        if key not in self._glyphs:
            self._glyphs[key] = self._draw(file, char)
        return self._glyphs[key]

    def line(self, file: Path, text: str) -> NDArray[np.uint8]:
        """A line of small print, uint8[SMALL,W]; shared, not to be written."""
        key = (file, text + "\n")
        if key not in self._glyphs:
            font = self._font(file).font_variant(size=round(SMALL * 0.9))
            left, _, right, _ = font.getbbox(text)
            picture = Image.new("L", (max(1, round(right - left)) + 2, SMALL))
            at = (1 - left, SMALL / 2)
            ImageDraw.Draw(picture).text(at, text, 255, font=font, anchor="lm")
            self._glyphs[key] = np.asarray(picture)
        return self._glyphs[key]

    def _font(self, file: Path) -> ImageFont.FreeTypeFont:
        if file not in self._opened:
            font = ImageFont.truetype(str(file), 200)
            _, top, _, bottom = font.getbbox("H", anchor="ls")
            self._opened[file] = font.font_variant(size=round(200 * CAP / max(1, bottom - top)))
        return self._opened[file]

    def _draw(self, file: Path, char: str) -> NDArray[np.uint8]:
        font = self._font(file)
        left, top, right, bottom = font.getbbox(char, anchor="ls")
        wide, tall = max(1, round(right - left)), max(1, round(bottom - top))
        picture = Image.new("L", (wide, tall))
        ImageDraw.Draw(picture).text((-left, -top), char, 255, font=font, anchor="ls")
        # round letters reach over the line, and Q below it: on a plate all have one height
        if ord(char) > 255:
            wide = round(CAP * wide / tall)
        return np.asarray(picture.resize((wide, CAP), Image.Resampling.BILINEAR))


def find_fonts(folders: Sequence[str | Path] = ()) -> Fonts:
    """Look for the fonts of plates.

    Args:
        folders: Where to look before the system's own folders.

    Raises:
        UsageError: A family has too few; the message says what to install.
    """
    places = [Path(place).expanduser() for place in (*folders, *SYSTEM)]
    found: dict[str, Path] = {}
    for place in places:
        for path in sorted(place.rglob("*")):
            if path.suffix.lower() in SUFFIXES:
                found.setdefault(path.name, path)
    files: dict[str, tuple[Path, ...]] = {}
    for family, stems in FILES.items():
        names = dict.fromkeys(name for stem in stems for name in found if _is(name, stem))
        files[family] = tuple(found[name] for name in names)
        if len(names) < ENOUGH.get(family, 3):
            raise UsageError(
                f"{len(names)} of the fonts of the family {family!r} are installed, which is too "
                f"few: apt-get install {PACKAGES}. npm's @fontsource packages are taken too "
                "(docs/plate-models.md), and --fonts names a folder with others"
            )
    return Fonts(files)


def _is(name: str, stem: str) -> bool:
    """Whether a file is that font: not its italic, and not another alphabet."""
    rest = name[len(stem) :]
    return name.startswith(stem) and rest.partition(".")[0] in ("", "-normal")
