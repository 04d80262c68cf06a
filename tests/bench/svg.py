"""What the charts of tests/bench share: text, logarithmic axes, and a document around them. Standard library only."""
import math
from html import escape


class Scale:
    """Logarithmic, from values to pixels."""

    def __init__(self, low, high, start, end):
        self.low, self.high, self.start, self.end = math.log(low), math.log(high), start, end

    def __call__(self, value):
        return self.start + (math.log(value) - self.low) / (self.high - self.low) * (self.end - self.start)

    def holds(self, value):
        return self.low <= math.log(value) <= self.high


def text(x, y, words, **style):
    attributes = "".join(' %s="%s"' % (name.replace("_", "-"), value) for name, value in style.items())
    return '<text x="%.1f" y="%.1f"%s>%s</text>' % (x, y, attributes, escape(words))


def document(width, height, heading, note, parts, left=16):
    """A white page with a heading and a note above what is drawn."""
    head = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13">'
            % (width, height), '<rect width="100%" height="100%" fill="white"/>',
            text(left, 24, heading, font_weight="bold"), text(left, 42, note, fill="#555555", font_size="11")]
    return "\n".join(head + parts + ["</svg>"]) + "\n"
