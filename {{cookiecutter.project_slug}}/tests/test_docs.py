"""The documentation names what there is: every key, every verb, every page, and the verdict's schema as it stands."""

import json
import re
from pathlib import Path

import typer.main

from ml.__main__ import app
from ml.contract.framing import Framing
from ml.contract.verdict import Verdict

ROOT = Path(__file__).resolve().parents[1]
DOCS, README = ROOT / "docs", ROOT / "README.md"
SCHEMA = DOCS / "verdict.schema.json"
WRITE_SCHEMA = "PYTHONPATH=.:tests python -c 'import test_docs; test_docs.SCHEMA.write_text(test_docs.schema())'"
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def schema() -> str:
    """Return what the verdict's schema file must hold."""
    named = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "The verdict of the gate"}
    return json.dumps(named | Verdict.model_json_schema() | named, indent=2) + "\n"


def keys() -> list[str]:
    return [
        f"{table}.{key}"
        for table, field in Framing.model_fields.items()
        for key in field.annotation.model_fields  # type: ignore[union-attr]
    ]


def linked(page: Path) -> set[Path]:
    """Return what a page links to, but for the web."""
    return {(page.parent / link).resolve() for link in LINK.findall(page.read_text()) if "://" not in link}


def test_every_key_of_the_framing_is_explained_and_no_other() -> None:
    tables = "|".join(Framing.model_fields)
    named = re.findall(rf"`((?:{tables})\.\w+)`", (DOCS / "framing.md").read_text())
    assert len(keys()) > 40
    assert set(named) == set(keys())


def test_the_schema_of_the_verdict_is_that_of_the_code() -> None:
    assert SCHEMA.read_text() == schema(), f"write it anew, in the project's folder: {WRITE_SCHEMA}"


def test_every_verb_is_in_the_table_of_the_readme() -> None:
    text, groups = README.read_text(), {"pipeline", "cluster", "demo"}  # which run the other verbs
    verbs = set(typer.main.get_command(app).commands)
    assert sorted(re.findall(r"^\| `ml ([a-z-]+)` \|[^|]+\|[^|]+\|$", text, re.MULTILINE)) == sorted(verbs - groups)
    grouped = ("run", "score", "schedule", "compile")
    for verb in (*(f"ml pipeline {each}" for each in grouped), "ml cluster up", "ml demo"):
        assert f"`{verb}`" in text


def test_every_page_is_linked_from_another_and_no_link_leads_nowhere() -> None:
    links = {page.resolve(): linked(page) for page in (README, *DOCS.glob("*.md"))}
    assert [to for found in links.values() for to in found if not to.exists()] == []
    from_others = {to for page, found in links.items() for to in found if to != page}
    assert links.keys() - from_others == {README.resolve()}
