from pathlib import Path

import pytest
from product_help import Built, Place, build, install


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(tmp_path_factory.mktemp("build"))


@pytest.fixture(scope="session")
def place(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Place:
    return install(built.wheel, tmp_path_factory.mktemp("place"))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A folder that is taken for a butler repository by whatever does not open it."""
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo" / "butler.yaml").touch()
    return tmp_path / "repo"
