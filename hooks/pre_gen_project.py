"""Refuses a name that Kubernetes, a folder or project.toml cannot carry, before anything is written."""

import json
import re
import sys

# The answers as JSON, whose quotes and line breaks are escaped: no answer can break this file.
answers = json.loads(r"""{{ cookiecutter | tojson }}""")
slug = answers["project_slug"]

# A Service on Kubernetes starts with a letter and holds 63 characters, of which some go to suffixes.
if not re.fullmatch(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?", slug):
    sys.exit(
        f"project_slug {slug!r} is refused by Kubernetes: use at most 40 lower-case letters, digits and "
        "dashes, the first a letter, the last not a dash"
    )
if not answers["project_name"].strip():
    sys.exit("project_name is empty")
for key in ("project_name", "description"):
    if re.search(r'["\\\x00-\x1f\x7f]', answers[key]):
        sys.exit(f"{key} would break project.toml: leave out double quotes, backslashes and line breaks")
