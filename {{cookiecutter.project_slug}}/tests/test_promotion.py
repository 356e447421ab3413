"""The state machine of promotions: every step there is, and all that is refused, with its reason and exit code."""

import re
from datetime import date
from typing import Any, get_args

import pytest
from promotion_evidence import FRAMING, IMAGE, LATER, NEW, NOW, OLD, OTHER, ago, analysis, gate, trying

from ml.contract.release import Arm, Experiment, Release
from ml.delivery.deployments import Deployment
from ml.promotion.case import Case, Step
from ml.promotion.evidence import Kind, Refusal
from ml.promotion.step import next_step
from ml.settings import Promotion

POLICY = Promotion(stages=["staging", "production"], canary=[5, 25, 50], evidence_days=7)
RUNS = Release(champion=OLD)
SHADOW, FIVE, HALF = trying(), trying("canary", 5), trying("canary", 50)
LAST = {"stage_before": "staging", "before": Release(champion=NEW, images={"serving": IMAGE})}
BY_HAND = Release(
    champion=OLD, experiment=Experiment(name="by-hand", mode="ab", arms={"new": Arm(bundle=NEW, percent=50)})
)


def step(**told: Any) -> Step | Refusal:
    return next_step(Case("staging", NOW, FRAMING, **told), POLICY)


def harm(release: Release) -> Deployment:
    return Deployment(environment="staging", release=release, at=ago(2), outcome="breach", said="error rate 4 %")


STEPS: dict[str, tuple[dict[str, Any], str, Release]] = {
    "nothing is released": (dict(newest=NEW, gate=gate(champion=OTHER)), "champion", Release(champion=NEW)),
    "nothing is released, with an image": (
        dict(newest=NEW, gate=gate(champion=OTHER), images={"serving": IMAGE}),
        "champion",
        Release(champion=NEW, images={"serving": IMAGE}),
    ),
    "nothing is released, a stage is before it": (
        dict(gate=gate(champion=OTHER), **LAST),
        "champion",
        Release(champion=NEW, images={"serving": IMAGE}),
    ),
    "the newest comes in": (dict(now=RUNS, newest=NEW, gate=gate()), "shadow", SHADOW),
    "the one that was named comes in": (dict(now=RUNS, newest=OTHER, asked=NEW, gate=gate()), "shadow", SHADOW),
    "the champion of the stage before comes in": (
        dict(now=Release(champion=OLD, images={"serving": IMAGE}), newest=OTHER, gate=gate(), **LAST),
        "shadow",
        trying(images={"serving": IMAGE}),
    ),
    "the shadow passed": (dict(now=SHADOW, gate=gate(), analysis=analysis(SHADOW)), "canary 5 %", FIVE),
    "5 % passed": (dict(now=FIVE, gate=gate(), analysis=analysis(FIVE)), "canary 25 %", trying("canary", 25)),
    "10 %, no step of today's, passed": (
        dict(now=trying("canary", 10), gate=gate(), analysis=analysis(trying("canary", 10))),
        "canary 25 %",
        trying("canary", 25),
    ),
    "the last percent passed": (
        dict(now=HALF, gate=gate(), analysis=analysis(HALF)),
        "champion",
        Release(champion=NEW),
    ),
    "the shadow failed": (dict(now=SHADOW, gate=gate(), analysis=analysis(SHADOW, "fail")), "withdrawal", RUNS),
    "a canary failed": (dict(now=FIVE, analysis=analysis(FIVE, "fail")), "withdrawal", RUNS),
    "a canary failed, and the champion alone once did harm": (
        dict(now=FIVE, analysis=analysis(FIVE, "fail"), breaches=(harm(RUNS),)),
        "withdrawal",
        RUNS,
    ),
    "it keeps its images on the way": (
        dict(
            now=trying("canary", 50, images={"serving": IMAGE}),
            gate=gate(),
            analysis=analysis(HALF),
        ),
        "champion",
        Release(champion=NEW, images={"serving": IMAGE}),
    ),
    "judged after it was deployed": (
        dict(now=FIVE, gate=gate(), analysis=analysis(FIVE), recorded=True, since=ago(1.5)),
        "canary 25 %",
        trying("canary", 25),
    ),
    "another image was named": (
        dict(now=Release(champion=OLD, images={"serving": IMAGE}), images={"serving": LATER}),
        "images",
        Release(champion=OLD, images={"serving": LATER}),
    ),
    "another image was named while somebody climbs": (
        dict(now=FIVE, images={"serving": LATER}),
        "images",
        trying("canary", 5, images={"serving": LATER}),
    ),
    "images follow the stage before, ahead of its champion": (
        dict(now=RUNS, gate=gate(), **LAST),
        "images",
        Release(champion=OLD, images={"serving": IMAGE}),
    ),
    "images wait while somebody climbs": (
        dict(now=FIVE, gate=gate(), analysis=analysis(FIVE), **LAST),
        "canary 25 %",
        trying("canary", 25),
    ),
}

IN, ON = dict(now=RUNS, newest=NEW), dict(now=FIVE, gate=gate())
REFUSALS: dict[str, tuple[dict[str, Any], str, str]] = {
    "no bundle": (dict(), "nothing", "there is no bundle"),
    "nothing new": (dict(now=RUNS, newest=OLD), "nothing", "cccccccccccc is the champion of staging already"),
    "nothing new before": (
        dict(now=Release(champion=NEW, images={"serving": IMAGE}), **LAST),
        "nothing",
        "already, which is that of staging",
    ),
    "nothing before": (dict(now=RUNS, stage_before="staging"), "nothing", "staging has no champion yet"),
    "never judged": (IN, "unjudged", "aaaaaaaaaaaa was never judged against cccccccccccc"),
    "never judged at all": (dict(newest=NEW), "unjudged", "was never judged against its baseline"),
    "the gate failed it": (IN | dict(gate=gate("fail")), "rejected", r"against cccccccccccc is fail: primary \(fail\)"),
    "the gate is open": (IN | dict(gate=gate("inconclusive")), "undecided", "is inconclusive: primary"),
    "the gate judged another": (IN | dict(gate=gate(challenger=OTHER)), "foreign", "the verdict is on bbbbbbbbbbbb"),
    "against another": (IN | dict(gate=gate(champion=OTHER)), "foreign", "against bbbbbbbbbbbb, and no other"),
    "the gate's framing": (IN | dict(gate=gate(framing="0" * 64)), "foreign", "judged by another framing"),
    "a waiver is over": (
        IN | dict(gate=gate("fail", waived_until=date(2026, 11, 20))),
        "stale",
        "the waiver for primary has expired",
    ),
    "the gate judged long ago": (
        IN | dict(gate=gate(judged_at=ago(7.1))),
        "stale",
        "aaaaaaaaaaaa was judged 2026-11-14 09:36, promotion.evidence_days are 7",
    ),
    "it failed here": (
        IN | dict(gate=gate(), failed=analysis(FIVE, "fail")),
        "rejected",
        "aaaaaaaaaaaa failed canary-aaaaaaaa-cccccccc-5 on 2026-11-20",
    ),
    "it did harm here": (
        IN | dict(gate=gate(), breaches=(harm(SHADOW),)),
        "rejected",
        "did harm in staging on 2026-11-19: error rate 4 %",
    ),
    "an image did harm here": (
        dict(now=RUNS, images={"serving": LATER}, breaches=(harm(Release(champion=OLD, images={"serving": LATER})),)),
        "rejected",
        "did harm in staging",
    ),
    "not deployed": (IN | dict(gate=gate(), recorded=True), "early", f"does not run .* plan {RUNS.plan}"),
    "a canary is not deployed": (ON | dict(analysis=analysis(FIVE), recorded=True), "early", "does not run"),
    "what did harm is still in the file": (
        ON | dict(recorded=True, breaches=(harm(FIVE),)),
        "early",
        f"plan {FIVE.plan}, which was taken back on 2026-11-19: error rate 4 %",
    ),
    "judged before it was deployed": (
        ON | dict(analysis=analysis(FIVE), recorded=True, since=ago(0.5)),
        "early",
        "judged 2026-11-20 12:00, before this was deployed 2026-11-21 00:00",
    ),
    "not judged yet": (ON, "undecided", "canary-aaaaaaaa-cccccccc-5 has not been judged yet"),
    "inconclusive": (ON | dict(analysis=analysis(FIVE, "inconclusive")), "undecided", "is inconclusive: it is"),
    "judged long ago": (ON | dict(analysis=analysis(FIVE, judged_at=ago(8))), "stale", "was judged 2026-11-13"),
    "failed long ago": (ON | dict(analysis=analysis(FIVE, "fail", judged_at=ago(8))), "stale", "was judged 2026-11-13"),
    "of another experiment": (ON | dict(analysis=analysis(SHADOW)), "foreign", "is on the shadow shadow-a.* canary-a"),
    "of another mode": (ON | dict(analysis=analysis(FIVE, mode="ab")), "foreign", "is on the ab canary-a"),
    "of another plan": (ON | dict(analysis=analysis(FIVE, plan="0" * 12)), "foreign", "the plan 000000000000, the rel"),
    "of no plan": (ON | dict(analysis=analysis(FIVE, plan=None)), "foreign", "under the plan of nobody"),
    "of another framing": (ON | dict(analysis=analysis(FIVE, framing="0" * 64)), "foreign", "another framing"),
    "of other bundles": (
        ON | dict(analysis=analysis(trying("canary", 5, OTHER), name=FIVE.experiment.name, plan=FIVE.plan)),
        "foreign",
        "was judged on bbbbbbbbbbbb, which the release does not name",
    ),
    "the gate failed it meanwhile": (
        dict(now=FIVE, gate=gate("fail"), analysis=analysis(FIVE)),
        "rejected",
        "is fail: primary",
    ),
    "by hand": (dict(now=BY_HAND, newest=NEW), "busy", "runs by-hand, which is no step of a promotion"),
    "another is climbing": (ON | dict(asked=OTHER), "busy", "staging is trying aaaaaaaaaaaa out"),
    "not what staging has": (dict(now=RUNS, asked=OTHER, **LAST), "foreign", "is not the champion of stag"),
    "not staging's image": (
        dict(now=RUNS, images={"serving": LATER}, **LAST),
        "foreign",
        "staging does not run registry.example.org/team/project-serving@sha256:2222",
    ),
}


@pytest.mark.parametrize(("told", "name", "to"), STEPS.values(), ids=STEPS)
def test_one_step_follows(told: dict[str, Any], name: str, to: Release) -> None:
    found = step(**told)
    assert isinstance(found, Step), found
    assert (found.name, found.to) == (name, to)


@pytest.mark.parametrize(("told", "kind", "said"), REFUSALS.values(), ids=REFUSALS)
def test_nothing_moves_and_the_reason_is_told(told: dict[str, Any], kind: str, said: str) -> None:
    found = step(**told)
    assert isinstance(found, Refusal), found
    assert found.kind == kind
    assert re.search(said, found.said), found.said
    assert found.code == {"rejected": 10, "foreign": 10, "stale": 10}.get(kind, 11)


def test_every_kind_of_refusal_is_in_the_table() -> None:
    assert {kind for _, kind, _ in REFUSALS.values()} == set(get_args(Kind))


def test_no_percent_between_shadow_and_champion_is_a_policy_as_well() -> None:
    policy = POLICY.model_copy(update={"canary": []})
    found = next_step(Case("staging", NOW, FRAMING, now=SHADOW, gate=gate(), analysis=analysis(SHADOW)), policy)
    assert isinstance(found, Step)
    assert found.to == Release(champion=NEW)
