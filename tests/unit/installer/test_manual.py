"""The README as Krita's page."""

from html.parser import HTMLParser

from installer.manual import manual
from installer.plugin import ROOT


class Balance(HTMLParser):
    """Fails where a tag is closed that is not the open one."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_readmes_page_is_well_formed() -> None:
    page = manual((ROOT / "README.md").read_text("utf-8"))
    reader = Balance()
    reader.feed(page)
    assert reader.open == [] and "<h1>" in page


def test_each_thing_that_the_readme_uses() -> None:
    page = manual(
        "# A & B\n\nA **bold** `x < y` [site](https://krita.org) [file](docs/a.md) ![picture](a.png)\n\n"
        "- one\n  goes on\n- two\n\n1. first\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```\n<code>\n```\n"
    )
    assert "<h1>A &amp; B</h1>" in page
    assert '<b>bold</b> <code>x &lt; y</code> <a href="https://krita.org">site</a> file' in page
    assert "<ul><li>one goes on</li><li>two</li></ul>" in page and "<ol><li>first</li></ol>" in page
    assert "<tr><td>1</td><td>2</td></tr>" in page and "---" not in page
    assert "<pre>&lt;code&gt;\n</pre>" in page and "a.png" not in page
