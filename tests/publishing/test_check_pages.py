"""The check of the built book: what a browser that does not answer means."""

from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import check_pages


@pytest.mark.parametrize(("hangs", "failed", "browsers"), [(1, 0, 2), (2, 1, 2)])
def test_a_page_that_hangs_is_asked_once_more(monkeypatch, capsys, hangs, failed, browsers):
    opened, asked = [], []

    @contextmanager
    def chromium():
        opened.append(len(opened))
        yield opened[-1]

    def check_page(browser, address, name, *rest):
        asked.append((browser, name))
        return ["TimeoutError: 120 s"] if name == "b" and [page for _, page in asked].count("b") <= hangs else []

    monkeypatch.setattr(check_pages, "chromium", chromium)
    monkeypatch.setattr(check_pages, "check_page", check_page)
    assert check_pages.check_width("desktop", ["a", "b", "c"], "", Path(), None) == failed
    assert asked == [(0, "a"), (0, "b"), (1, "c"), (1, "b")]
    assert len(opened) == browsers
    said = capsys.readouterr().out
    assert "late   b" in said
    assert ("failed b" in said) == bool(failed)


def test_a_page_with_a_fault_is_not_asked_again(monkeypatch):
    asked = []
    monkeypatch.setattr(check_pages, "chromium", contextmanager(lambda: (yield None)))
    monkeypatch.setattr(check_pages, "check_page", lambda browser, address, name, *rest: asked.append(name) or ["broken picture"])
    assert check_pages.check_width("phone", ["a", "b"], "", Path(), None) == 2
    assert asked == ["a", "b"]
