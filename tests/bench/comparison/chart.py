"""A chart of one figure of all contenders: a row each, a dot per kind of work at the median, a line from min to max."""
import math

import svg

COLOURS = ("#1f6fb2", "#6fa8dc", "#c0392b", "#e08e79", "#8c6d1f")
WIDTH, LEFT, RIGHT, TOP, BOTTOM = 820, 150, 30, 92, 48
DOT_PITCH = 11  # between the dots of a row


def rows_of(contenders, columns):
    """[(label, [(colour, low, middle, high)])], values in the columns' units"""
    rows = []
    for contender in contenders:
        dots = []
        for colour, column in zip(COLOURS, columns):
            if column.work in contender["work"]:
                values = contender["work"][column.work][column.figure]
                dots.append((colour, *(values[at] * column.factor for at in ("min", "median", "max"))))
        rows.append((contender["label"], dots))
    return rows


def ticks(scale):
    """1, 2, 5 of every decade on the axis"""
    first, last = math.floor(scale.low / math.log(10)), math.ceil(scale.high / math.log(10))
    return [value for power in range(first, last + 1) for value in (digit * 10.0 ** power for digit in (1, 2, 5))
            if scale.holds(value)]


def legend(columns):
    parts, x = [], 16
    for colour, column in zip(COLOURS, columns):
        parts.append('<circle cx="%.1f" cy="62" r="4.5" fill="%s"/>' % (x + 5, colour))
        parts.append(svg.text(x + 15, 66, column.label, font_size="12"))
        x += 28 + 7 * len(column.label)
    return parts


def draw(heading, note, columns, contenders):
    """The chart as an SVG document. All columns are of one unit."""
    rows = rows_of(contenders, columns)
    values = [value for _, dots in rows for _, *three in dots for value in three]
    pitch = DOT_PITCH * len(columns) + 12
    height = TOP + pitch * len(rows) + BOTTOM
    x = svg.Scale(min(values) * 0.8, max(values) * 1.25, LEFT, WIDTH - RIGHT)
    parts = legend(columns)
    for tick in ticks(x):
        parts.append('<path d="M%.1f %dV%d" stroke="#dddddd"/>' % (x(tick), TOP - 8, height - BOTTOM))
        parts.append(svg.text(x(tick), height - BOTTOM + 18, "%g" % tick, text_anchor="middle"))
    parts.append(svg.text((LEFT + WIDTH - RIGHT) / 2, height - 10, columns[0].unit + ", logarithmic", text_anchor="middle",
                          fill="#555555"))
    for number, (label, dots) in enumerate(rows):
        middle = TOP + pitch * (number + 0.5)
        parts.append('<path d="M%d %.1fH%d" stroke="#eeeeee"/>' % (LEFT, middle + pitch / 2, WIDTH - RIGHT))
        parts.append(svg.text(LEFT - 12, middle + 4, label, text_anchor="end",
                              **({"font_weight": "bold"} if label.startswith("sluice") else {})))
        for place, (colour, low, median, high) in enumerate(dots):
            y = middle + (place - (len(dots) - 1) / 2) * DOT_PITCH
            parts.append('<path d="M%.1f %.1fH%.1f" stroke="%s" stroke-width="2" opacity="0.5"/>'
                         % (x(low), y, x(high), colour))
            parts.append('<circle cx="%.1f" cy="%.1f" r="4.5" fill="%s"/>' % (x(median), y, colour))
    return svg.document(WIDTH, height, heading, note, parts)
