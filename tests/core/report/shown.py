"""What a page shows, read back from its HTML."""

import json
from html.parser import HTMLParser

VOID = {"meta", "br"}


class Shown(HTMLParser):
    """The elements of a page, its texts and the numbers it tells; unclosed or crossed elements fail."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.elements, self.texts, self.numbers, self.ids, self._open = [], [], [], [], []
        self.feed(page)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if (named := dict(attributes).get("id")) is not None:
            self.ids.append(named)
        if tag not in VOID:
            self._open.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        opened, _ = self._open.pop()
        assert opened == tag

    def handle_data(self, data):
        if not self._open or self._open[-1][0] == "style":
            return
        tag, attributes = self._open[-1]
        if tag == "data":
            self.numbers.append((float(attributes["value"]), data))
        elif data.strip():
            self.texts.append(data)

    @property
    def tags(self):
        return {tag for tag, _ in self.elements}

    def text(self):
        return "\n".join(self.texts)


def leaves(told):
    """Give all that a JSON document holds which is no object and no list."""
    if isinstance(told, dict):
        return [leaf for value in told.values() for leaf in leaves(value)]
    if isinstance(told, list):
        return [leaf for value in told for leaf in leaves(value)]
    return [told]


def of_json(data):
    """Give the numbers and the strings of a JSON document."""
    found = leaves(json.loads(data))
    numbers = {float(one) for one in found if isinstance(one, int | float) and not isinstance(one, bool)}
    return numbers, {one for one in found if isinstance(one, str)}
