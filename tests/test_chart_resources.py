"""Custom resources are what their definitions take, as far as that is seen without a cluster that has these."""

from copy import deepcopy

import kubernetes_validate
import pytest
from chart_rendering import CUSTOM, VERSIONS, one
from custom_resources import SCHEMAS, faults, shared


def test_every_custom_resource_is_as_its_definition_has_it(rendered):
    found = [(name, each) for name, made in rendered.items() for each in made if each["apiVersion"] in CUSTOM]
    assert {each["kind"] for _, each in found} == set(SCHEMAS)
    assert {f"{name} {each['kind']}": faults(each) for name, each in found if faults(each)} == {}


SPOILT = {  # a change of a spec, and what is said of it
    ("route", "HTTPRoute"): (lambda spec: spec.update(hostname=[]), "'hostname' was unexpected"),
    ("metrics", "ServiceMonitor"): (lambda spec: spec["endpoints"][0].update(portt="http"), "'portt' was unexpected"),
    ("metrics", "PrometheusRule"): (lambda spec: spec["groups"][0]["rules"][0].pop("record"), "$.groups[0].rules[0]"),
    ("keda", "ScaledObject"): (lambda spec: spec["triggers"][0]["metadata"].update(threshold=4), "4 is not of type"),
    ("rollout", "AnalysisTemplate"): (lambda spec: spec["metrics"][0].update(limit=1), "'limit' was unexpected"),
    ("rollout", "Rollout"): (lambda spec: spec["strategy"]["canary"].pop("trafficRouting"), "is a dependency of"),
}


@pytest.mark.parametrize(("scenario", "kind"), SPOILT)
def test_a_custom_resource_is_seen_to_be_wrong(rendered, scenario, kind):
    spoil, said = SPOILT[scenario, kind]
    manifest = deepcopy(one(rendered[f"serving/{scenario}"], kind))
    spoil(manifest["spec"])
    assert said in "\n".join(faults(manifest))


def test_a_rollout_is_held_against_a_deployment(rendered):
    manifest = deepcopy(one(rendered["serving/rollout"], "Rollout"))
    manifest["spec"]["minReadySecond"] = 10
    with pytest.raises(kubernetes_validate.ValidationError, match="minReadySecond"):
        kubernetes_validate.validate(shared(manifest), VERSIONS[0], strict=True)
