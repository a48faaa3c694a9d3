"""A written page as a browser would see it, and a text that tries to be markup."""

from html.parser import HTMLParser

EVIL = "<script>alert('x')</script> & \"<b>bold</b>\" {{ 7 * 7 }}"
VOID = {"meta", "img", "source", "br", "input"}


class Read(HTMLParser):
    """What a browser would see: elements, their attributes, and the words outside styles."""

    def __init__(self, written: str) -> None:
        super().__init__()
        self.elements, self.words, self._open = [], "", []
        self.feed(written)
        self.close()
        assert self._open == [], "elements are not closed"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag in ("td", "th"):
            self.words += " "
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if not {"style", "script"} & set(self._open):
            self.words += data

    def of(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def line(self):
        return " ".join(self.words.split())
