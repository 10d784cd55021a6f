"""Templates of pages."""

import jinja2
import pytest

from llmill.report import templates


def test_a_page_s_texts_are_escaped_and_its_filters_are_known(tmp_path):
    (tmp_path / "own.html.jinja").write_text("{% if text %}\n{{ text | twice }}\n{% endif %}\n")
    page = templates.page("own.html.jinja", {"twice": lambda text: text * 2}, [tmp_path])
    assert page.render(text="<b>") == "&lt;b&gt;&lt;b&gt;\n"
    with pytest.raises(jinja2.UndefinedError):
        page.render()


def test_another_s_page_stands_before_the_report_s_and_takes_its_style(tmp_path):
    (tmp_path / "page.html.jinja").write_text('own {% include "page.css" %}')
    style = (templates.FOLDER / "page.css").read_text()
    assert templates.page("page.html.jinja", {}, [tmp_path]).render() == "own " + style
