"""The README as the page that Krita shows in its plugin list: of Markdown, only what the README uses."""

import html
import re

_LINK = re.compile(r"\[([^\]]+)\]\(([^)\s]+)\)")
_IMAGE = re.compile(r"!\[[^\]]*\]\([^)]*\)")
_CODE = re.compile(r"`([^`]+)`")
_BOLD = re.compile(r"\*\*([^*]+)\*\*")
_ITEM = re.compile(r"^(?:[-*]|\d+\.) +")


def manual(markdown: str) -> str:
    """The page, as HTML. Pictures are left out: they lie beside the README, not in Krita's folder."""
    return (
        '<!DOCTYPE html>\n<html><head><meta charset="utf-8"><title>Unflatten</title></head><body>\n'
        + "\n".join(_blocks(_IMAGE.sub("", markdown)))
        + "\n</body></html>\n"
    )


def _blocks(markdown: str) -> list[str]:
    blocks: list[str] = []
    for index, part in enumerate(re.split(r"^```.*\n?", markdown, flags=re.MULTILINE)):
        if index % 2:
            blocks.append(f"<pre>{html.escape(part)}</pre>")
        else:
            blocks += [_block(block.strip().splitlines()) for block in re.split(r"\n\s*\n", part) if block.strip()]
    return blocks


def _block(lines: list[str]) -> str:
    heading = re.match(r"(#{1,4}) +(.*)", lines[0])
    if heading and len(lines) == 1:
        level = len(heading.group(1))
        return f"<h{level}>{_inline(heading.group(2))}</h{level}>"
    if heading:
        return _block(lines[:1]) + "\n" + _block(lines[1:])
    if lines[0].startswith("|"):
        return _table(lines)
    if _ITEM.match(lines[0]):
        tag = "ol" if lines[0][0].isdigit() else "ul"
        return f"<{tag}>" + "".join(f"<li>{_inline(item)}</li>" for item in _items(lines)) + f"</{tag}>"
    return f"<p>{_inline(' '.join(lines))}</p>"


def _items(lines: list[str]) -> list[str]:
    items: list[str] = []
    for line in lines:
        if _ITEM.match(line):
            items.append(_ITEM.sub("", line))
        else:
            items[-1] += " " + line.strip()
    return items


def _table(lines: list[str]) -> str:
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]
    rows = [row for row in rows if any(cell.strip("-: ") for cell in row)]
    cells = ["".join(f"<td>{_inline(cell)}</td>" for cell in row) for row in rows]
    return "<table>" + "".join(f"<tr>{row}</tr>" for row in cells) + "</table>"


def _inline(text: str) -> str:
    """Escaped text with its code, bold words and links."""
    escaped = html.escape(text, quote=False)
    escaped = _LINK.sub(lambda found: _link(found.group(1), found.group(2)), escaped)
    escaped = _BOLD.sub(r"<b>\1</b>", escaped)
    return _CODE.sub(r"<code>\1</code>", escaped)


def _link(text: str, target: str) -> str:
    """A link out of the README; one to a file beside it would lead nowhere, so only its text stays."""
    return f'<a href="{html.escape(target)}">{text}</a>' if target.startswith("https://") else text
