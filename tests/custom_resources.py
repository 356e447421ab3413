"""Custom resources, held against custom_resources.yaml and, for what they share with Kubernetes' own, against these."""

from pathlib import Path
from typing import Any

import jsonschema
import yaml


def _closed(schema: Any) -> Any:
    """Return a schema whose tables take no key that it does not name."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    table = {"type": "object", "additionalProperties": False} if "properties" in schema else {}
    return table | {key: _closed(value) for key, value in schema.items()}


SCHEMAS = _closed(yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text()))


def faults(manifest: dict) -> list[str]:
    """Return what is wrong with a custom resource's own fields, each by its path."""
    spec, kind = manifest["spec"], manifest["kind"]
    own = {"strategy": spec["strategy"]} if kind == "Rollout" else spec
    found = jsonschema.Draft202012Validator(SCHEMAS[kind]).iter_errors(own)
    strange = [
        f"$: {key} is no key of a manifest" for key in set(manifest) - {"apiVersion", "kind", "metadata", "spec"}
    ]
    return strange + [f"{each.json_path}: {each.message}" for each in found]


def shared(manifest: dict) -> dict:
    """Return the rest as an object of Kubernetes: a Rollout as a Deployment, of any other the metadata."""
    if manifest["kind"] == "Rollout":
        spec = {key: value for key, value in manifest["spec"].items() if key != "strategy"}
        return manifest | {"apiVersion": "apps/v1", "kind": "Deployment", "spec": spec}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": manifest["metadata"]}
