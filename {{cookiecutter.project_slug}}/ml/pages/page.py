"""Fills in templates, and the only place that knows jinja2."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ml.pages.words import percent, words
from ml.statistics.metrics import digits

HERE = Path(__file__).parent


def render(template: Path, **content: Any) -> str:
    """Return a template with its content; in HTML, content is escaped unless it is a picture."""
    environment = Environment(
        loader=FileSystemLoader([template.parent, HERE]),
        autoescape=template.suffix == ".html",
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(digits=digits, percent=percent, words=words)
    return environment.get_template(template.name).render(**content)
