"""Files are there whole or not at all, and nothing else in their folder is touched."""

import errno
from pathlib import Path

import pytest

from xaicl_lib.errors import InputError
from xaicl_lib.files import written_whole


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_when_it_is_whole(tmp_path) -> None:
    path = tmp_path / "out.html"
    path.write_text("old")
    with written_whole(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["out.html"]


def half_written(path: Path, error: BaseException) -> None:
    with written_whole(path) as part:
        part.write_text("half")
        raise error


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_after_an_error_the_old_one_stands(tmp_path, error) -> None:
    path = tmp_path / "out.html"
    path.write_text("old")
    with pytest.raises((InputError, KeyboardInterrupt)):
        half_written(path, error)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["out.html"]


def test_a_neighbour_of_the_user_stays(tmp_path) -> None:
    (tmp_path / "out.html.part").write_text("a download under way")
    with written_whole(tmp_path / "out.html") as part:
        part.write_text("new")
    assert (tmp_path / "out.html.part").read_text() == "a download under way"


def test_two_writers_do_not_mix(tmp_path) -> None:
    path = tmp_path / "out.html"
    with written_whole(path) as first:
        first.write_text("first")
        with written_whole(path) as second:
            second.write_text("second")
        assert path.read_text() == "second"
    assert path.read_text() == "first"
    assert names(tmp_path) == ["out.html"]
