"""HTML as a test reads it: a small tree, strict about what is opened and closed."""

from collections.abc import Iterator
from html.parser import HTMLParser

VOID = {"meta", "link", "input", "br", "hr", "img", "source"}


class Node:
    """An element. `text`: all that is written in it, white space as it came."""

    def __init__(self, tag: str, attrs: dict[str, str | None]) -> None:
        self.tag, self.attrs = tag, attrs
        self.children: list[Node | str] = []

    def walk(self) -> Iterator["Node"]:
        yield self
        for child in self.children:
            if isinstance(child, Node):
                yield from child.walk()

    def all(self, tag: str, **attrs: str) -> list["Node"]:
        return [
            node
            for node in self.walk()
            if node.tag == tag and all(node.said(name) == said for name, said in attrs.items())
        ]

    def one(self, tag: str, **attrs: str) -> "Node":
        (found,) = self.all(tag, **attrs)
        return found

    def id(self, named: str) -> "Node":
        (found,) = [node for node in self.walk() if node.attrs.get("id") == named]
        return found

    def said(self, name: str) -> str | None:
        return self.attrs.get({"class_": "class", "for_": "for"}.get(name, name))

    @property
    def text(self) -> str:
        return "".join(child if isinstance(child, str) else child.text for child in self.children)

    @property
    def words(self) -> str:
        return " ".join(self.text.split())

    @property
    def links(self) -> list[str]:
        return [node.attrs["href"] or "" for node in self.all("a") if "href" in node.attrs]


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Node("", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"an attribute is given twice: {tag} {attrs}"
        node = Node(tag, dict(attrs))
        self.open[-1].children.append(node)
        if tag not in VOID:
            self.open.append(node)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].children.append(Node(tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag, f"</{tag}> closes what is not open"

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def read(text: str) -> Node:
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == [reader.root], f"{reader.open[-1].tag} is never closed"
    ids = [node.attrs["id"] for node in reader.root.walk() if "id" in node.attrs]
    assert len(ids) == len(set(ids)), f"an id is given twice: {ids}"
    return reader.root


def table(page: Node, name: str) -> tuple[list[str], list[list[str]]]:
    """Returns a table's columns and its rows as they are shown; nothing where it is empty."""
    for node in page.all("table"):
        if any(caption.attrs.get("id") == f"t-{name}" for caption in node.all("caption")):
            columns = [cell.words.replace(" ", "_") for cell in node.all("th")]
            rows = [[cell.text for cell in row.all("td")] for row in node.one("tbody").all("tr")]
            return columns, rows
    return [], []
