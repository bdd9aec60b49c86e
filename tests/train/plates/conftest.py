"""The fonts of plates, which are packages and no part of the project."""

import pytest

pytest.importorskip("PIL")

from edgecnn.train.plates.crops import CropMaker
from edgecnn.train.plates.fonts import Fonts, find_fonts
from edgecnn.train.plates.grammar import choose_grammars
from edgecnn_runtime.errors import UsageError


@pytest.fixture(scope="session")
def fonts() -> Fonts:
    try:
        return find_fonts()
    except UsageError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def maker(fonts: Fonts) -> CropMaker:
    return CropMaker(choose_grammars(()), fonts)
