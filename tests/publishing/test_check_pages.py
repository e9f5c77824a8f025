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


def test_a_page_that_never_answers_is_given_up_and_asked_once_more(monkeypatch, tmp_path, capsys):
    """In a real browser, which is ended: `evaluate` itself knows no limit."""
    try:
        check_pages._find_chromium()
    except SystemExit as error:
        pytest.skip(str(error))
    (tmp_path / "page.html").write_text('<!doctype html><html lang="en"><title>A page</title><main><h1>A page</h1></main></html>')
    asked = []

    def draw_all(page):
        asked.append(page.url)
        return page.evaluate("new Promise(() => {})") if len(asked) == 1 else []

    monkeypatch.setattr(check_pages, "HANGS", 3)
    monkeypatch.setattr(check_pages, "draw_all", draw_all)
    monkeypatch.setattr(check_pages, "serious", lambda *given, **more: [])  # of axe-core, which is fetched
    with check_pages.served(tmp_path) as address:
        assert check_pages.check_width("phone", ["page.html"], address, tmp_path, None) == 0
    assert len(asked) == 2
    assert "late   page.html (phone)\n         TimeoutError: no answer for 3 s" in capsys.readouterr().out
