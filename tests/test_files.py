"""Files and folders are there whole or not at all, and nothing else beside them is touched."""

import errno
from pathlib import Path

import pytest

from xaicl_lib.errors import InputError
from xaicl_lib.files import folder_whole, written_whole


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


def is_ours(folder: Path) -> bool:
    return (folder / "sign").is_file()


def test_a_folder_appears_when_it_is_whole(tmp_path) -> None:
    folder = tmp_path / "new" / "out"
    for text in ("first", "second"):
        with folder_whole(folder, is_ours) as fresh:
            assert names(fresh) == []
            (fresh / "sign").write_text(text)
            assert folder.exists() == (text == "second")
        assert (folder / "sign").read_text() == text
    assert names(folder.parent) == ["out"]


def half_filled(folder: Path, error: BaseException) -> None:
    with folder_whole(folder, is_ours) as fresh:
        (fresh / "sign").write_text("half")
        raise error


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_after_an_error_the_old_folder_stands(tmp_path, error) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sign").write_text("old")
    with pytest.raises((InputError, KeyboardInterrupt)):
        half_filled(tmp_path / "out", error)
    assert (tmp_path / "out" / "sign").read_text() == "old"
    assert names(tmp_path) == ["out"]


def test_a_folder_that_cannot_take_the_place_leaves_the_old_one(tmp_path, monkeypatch) -> None:
    from xaicl_lib import files

    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sign").write_text("old")
    replace = files.os.replace

    def busy(source, target):
        if Path(source).name == "new":
            raise OSError(errno.EBUSY, "Device or resource busy")
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", busy)
    with pytest.raises(InputError, match="Device or resource busy"), folder_whole(tmp_path / "out", is_ours):
        pass
    assert (tmp_path / "out" / "sign").read_text() == "old"
    assert names(tmp_path) == ["out"]


def test_a_file_or_another_folder_is_not_replaced(tmp_path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.txt").write_text("mine")
    for name, says in (("file", "Not a directory"), ("folder", "which holds something else"), ("file/below", "can be written")):
        with pytest.raises(InputError, match=says), folder_whole(tmp_path / name, is_ours):
            raise AssertionError("never asked for")
    assert (tmp_path / "file").read_text() == (tmp_path / "folder" / "thesis.txt").read_text() == "mine"
    assert names(tmp_path) == ["file", "folder"]
