"""Makes Data Docs readable offline: as built, they load scripts and styles from five other hosts, and a newsletter.

What loads is taken out and one style sheet is put in; an index in plain HTML takes the place of one that needs the
scripts.
"""

import html
import re
from pathlib import Path

STYLE = Path(__file__).with_suffix(".css")
LOADS = re.compile(
    r"<script\b.*?</script>|<link\b[^>]*>|<style\b.*?</style>|<footer\b.*?</footer>|<img\b[^>]*>", re.DOTALL
)
HEAD = re.compile(r"</head>", re.IGNORECASE)


def settle(docs: Path, stages: dict[str, str]) -> Path:
    """Rewrite every page below `docs` and return the new index, which says of each stage how it went."""
    style = f'<meta charset="utf-8"><style>{STYLE.read_text()}</style>'
    for page in docs.rglob("*.html"):
        page.write_text(HEAD.sub(lambda _: f"{style}</head>", LOADS.sub("", page.read_text()), count=1))
    rows = []
    for stage, went in stages.items():
        results = next((docs / "validations" / stage).rglob("*.html")).relative_to(docs)
        rules = Path("expectations", f"{stage}.html")
        rows.append(
            f'<tr><td><a href="{results}">{stage}</a></td><td>{html.escape(went)}</td>'
            f'<td><a href="{rules}">the rules</a></td></tr>'
        )
    index = docs / "index.html"
    table = f"<table><tr><th>stage</th><th>result</th><th></th></tr>{''.join(rows)}</table>"
    index.write_text(
        f"<!doctype html><html><head><title>Data Docs</title>{style}</head><body><h4>Data Docs</h4>{table}"
    )
    return index
