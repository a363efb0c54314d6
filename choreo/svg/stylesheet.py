"""The looks of a drawing: colours for light and dark, lines and letters.

The style sheet lives here; what it is for does not. It is part of the drawing, and no font, script or image is loaded
from anywhere.
"""

from choreo.svg.cards import EVENT_PX, NOTE_PX, TITLE_PX

_COLOURS = {
    "page": ("#ffffff", "#12151a"),
    "lane": ("#f5f6f8", "#191d24"),
    "edge": ("#e2e5ea", "#2a303a"),
    "card": ("#ffffff", "#222832"),
    "rim": ("#c4cad4", "#434c5a"),
    "ink": ("#1d2330", "#e7eaf0"),
    "muted": ("#5f6b7c", "#9ba6b6"),
    "fact": ("#5b687c", "#93a1b5"),
    "failure": ("#cf2f37", "#ff7d80"),
    "undoing": ("#946000", "#e3b04b"),
    "amber": ("#b87a00", "#d9a63c"),
    "good": ("#16794a", "#5ecb95"),
    "start": ("#2a5bd0", "#8db1ff"),
    "deadline": ("#7a48c9", "#b89cff"),
}
"""On light pages, and on dark ones."""
_MONO = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono','Liberation Mono',monospace"


def sheet() -> str:
    """Return the style sheet; every rule in it is for this drawing alone."""
    light, dark = (
        f".choreo{{{';'.join(f'--{name}:{pair[page]}' for name, pair in _COLOURS.items())}}}" for page in (0, 1)
    )
    return "\n".join([light, f"@media(prefers-color-scheme:dark){{{dark}}}", _RULES])


_RULES = f"""\
.choreo text{{font-family:{_MONO};font-size:{EVENT_PX}px;fill:var(--ink)}}
.choreo .page{{fill:var(--page)}}
.choreo .lane{{fill:var(--lane);stroke:var(--edge)}}
.choreo .service{{font-size:{TITLE_PX}px;font-weight:700;fill:var(--muted)}}
.choreo .service{{paint-order:stroke;stroke:var(--lane);stroke-width:6px;stroke-linejoin:round}}
.choreo .title{{font-size:{TITLE_PX}px;font-weight:700}}
.choreo .note,.choreo .legend{{font-size:{NOTE_PX}px;fill:var(--muted)}}
.choreo .card{{fill:var(--card);stroke:var(--rim);stroke-width:1.2}}
.choreo .source .card{{stroke:var(--start)}}
.choreo .source.unknown .card{{stroke:var(--rim);stroke-dasharray:2 3}}
.choreo .source .title{{font-size:{NOTE_PX}px;font-weight:400;fill:var(--muted)}}
.choreo .compensation .card{{stroke:var(--amber);stroke-dasharray:5 3}}
.choreo .compensation .title{{fill:var(--undoing)}}
.choreo .deadline .card{{stroke:var(--deadline)}}
.choreo .deadline .title{{fill:var(--deadline)}}
.choreo .otherwise .card,.choreo .instead{{fill:var(--card);stroke:var(--failure);stroke-dasharray:2 3}}
.choreo .line,.choreo .sign{{fill:none;stroke-width:1.5;stroke-linecap:round;stroke-linejoin:round}}
.choreo .line{{stroke:var(--fact)}}
.choreo .sign{{stroke:var(--muted)}}
.choreo .head{{fill:var(--fact)}}
.choreo .failure .line{{stroke:var(--failure);stroke-dasharray:5 4}}
.choreo .failure .head{{fill:var(--failure)}}
.choreo .undoing .line{{stroke:var(--amber);stroke-dasharray:2 4}}
.choreo .undoing .head{{fill:var(--amber)}}
.choreo .net:hover .line{{stroke-width:3}}
.choreo .join{{stroke:var(--ink);stroke-width:4;stroke-linecap:round}}
.choreo text.failure,.choreo text.fails{{fill:var(--failure)}}
.choreo text.undoing{{fill:var(--undoing)}}
.choreo text.completes{{fill:var(--good);font-weight:700}}
.choreo text.fails{{font-weight:700}}
.choreo text.start{{fill:var(--start);font-weight:700}}
.choreo .sign.failure,.choreo .sign.fails{{stroke:var(--failure)}}
.choreo .sign.undoing{{stroke:var(--amber)}}
.choreo .sign.completes{{stroke:var(--good)}}
.choreo .sign.start{{stroke:var(--start);fill:var(--start)}}
.choreo .sign.clock{{stroke:var(--deadline)}}
.choreo .sign.fan-out,.choreo .sign.fan-in{{stroke:var(--ink)}}"""
