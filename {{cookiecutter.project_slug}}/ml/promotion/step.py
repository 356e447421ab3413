"""The next step of an environment, or why there is none; pure: what is known is given, and nothing is read or written.

Nothing released: a champion, judged against the simplest rung of its ladder. Else a candidate climbs: shadow of
everybody, canary of one percent after the other, champion; who fails on the way is withdrawn. The first stage takes
what is new, each other one what the stage before runs, bundles and images alike. One thing changes at a time.
"""

from ml.contract.release import Arm, Experiment, Mode, Release
from ml.delivery.release import CHALLENGER
from ml.promotion.case import Case, Step, candidate, name_of
from ml.promotion.evidence import Refusal, of_age, of_analysis, of_gate, reasons
from ml.settings import Promotion


def next_step(case: Case, policy: Promotion) -> Step | Refusal:
    """Return the one next step of an environment, or why nothing moves."""
    step = _step(case, policy)
    for each in case.breaches:
        if isinstance(step, Step) and step.name != "withdrawal" and each.release == step.to:
            said = f"this very release did harm in {case.environment} on {each.at:%Y-%m-%d}: {each.said}"
            return Refusal("rejected", said, "Bring another bundle, or another image")
    return step


def _step(case: Case, policy: Promotion) -> Step | Refusal:
    if refused := _strange(case):
        return refused
    if case.now is None:
        return _first(case, policy)
    if step := _images(case, case.now):
        return step
    if case.recorded and not case.since:
        return _elsewhere(case, case.now)
    return _climb(case, case.now, policy) if case.now.experiment else _enter(case, case.now, policy)


def _elsewhere(case: Case, now: Release) -> Refusal:
    """Return why nothing moves where another release runs than the file says: it is new, or was taken back."""
    said = f"{case.environment} does not run what its release file says, plan {now.plan}"
    if harm := [each for each in case.breaches if each.release == now]:
        mend = f"Merge revert/{case.environment}, or run `ml release revert {case.environment}`"
        return Refusal("early", f"{said}, which was taken back on {harm[-1].at:%Y-%m-%d}: {harm[-1].said}", mend)
    return Refusal("early", said, f"Run `ml deploy {case.environment}`, and see what it says")


def _strange(case: Case) -> Refusal | None:
    """Refuse what the stage before does not run."""
    if not case.stage_before:
        return None
    runs = case.before.images if case.before else {}
    if case.asked and case.asked != (case.before.champion if case.before else None):
        said = f"{case.asked[:12]} is not the champion of {case.stage_before}"
        return Refusal("foreign", said, f"Run `ml promote {case.stage_before} --bundle {case.asked[:12]}` first")
    if strange := [role for role, image in case.images.items() if runs.get(role) != image]:
        said = f"{case.stage_before} does not run {case.images[strange[0]]}"
        return Refusal("foreign", said, f"Run `ml promote {case.stage_before}` with that image first")
    return None


def _images(case: Case, now: Release) -> Step | None:
    """Return the step to the images that were named, else to those of the stage before, unless somebody is climbing."""
    follows = case.before.images if case.before and not now.experiment else {}
    wanted = {**now.images, **(case.images or follows)}
    if wanted == now.images:
        return None
    changed = sorted(role for role, image in wanted.items() if now.images.get(role) != image)
    because = f"{case.stage_before} runs them" if case.stage_before else "they were named"
    return Step("images", ", ".join(changed), now.model_copy(update={"images": wanted}), because)


def _unfit(case: Case, policy: Promotion) -> Refusal | None:
    """Return why the candidate may not come in; its evidence is the gate's verdict."""
    digest, champion = candidate(case), case.now.champion if case.now else None
    if digest is None and case.stage_before:
        said, mend = f"{case.stage_before} has no champion yet", f"Run `ml promote {case.stage_before}` first"
        return Refusal("nothing", said, mend)
    if digest is None:
        return Refusal("nothing", "there is no bundle", "Run `ml pipeline run`")
    if digest == champion:
        source = f"which is that of {case.stage_before}" if case.stage_before else "which is the newest"
        said = f"{digest[:12]} is the champion of {case.environment} already, {source}"
        return Refusal("nothing", said, "Train another bundle, or name one with --bundle")
    if case.failed:
        said = f"{digest[:12]} failed {case.failed.name} on {case.failed.judged_at:%Y-%m-%d}"
        return Refusal("rejected", said, "Bring another bundle")
    if refused := of_gate(case.gate, digest, champion, case.framing, case.at):
        return refused
    return of_age(digest[:12], case.gate.judged_at, case.at, policy.evidence_days) if case.gate else None


def _first(case: Case, policy: Promotion) -> Step | Refusal:
    if refused := _unfit(case, policy):
        return refused
    digest, images = str(candidate(case)), {**(case.before.images if case.before else {}), **case.images}
    because = "the gate let it pass, and nothing was released here before"
    return Step("champion", digest, Release(champion=digest, images=images), because)


def _enter(case: Case, now: Release, policy: Promotion) -> Step | Refusal:
    return _unfit(case, policy) or _tried(now, str(candidate(case)), "shadow", 100, "the gate let it pass")


def _climb(case: Case, now: Release, policy: Promotion) -> Step | Refusal:
    experiment, digest = now.experiment, str(candidate(case))
    if experiment is None or experiment.mode not in ("shadow", "canary") or "://" in digest:
        name = experiment.name if experiment else "nothing"
        return Refusal("busy", f"{case.environment} runs {name}, which is no step of a promotion", "End it first")
    if case.asked and case.asked != digest:
        said = f"{case.environment} is trying {digest[:12]} out"
        return Refusal("busy", said, "Wait until it is champion or withdrawn, or end it by `ml release --end`")
    found = case.analysis
    if refused := of_analysis(found, now, case.since, case.framing):
        return refused
    assert found is not None  # else it was refused
    if refused := of_age(found.name, found.judged_at, case.at, policy.evidence_days):
        return refused
    shown = f"{found.name} {'passed' if found.verdict == 'pass' else 'failed'}: {reasons(found)}"
    if found.verdict == "fail":
        return Step("withdrawal", digest, now.model_copy(update={"experiment": None}), shown)
    if refused := of_gate(case.gate, digest, now.champion, case.framing, case.at):
        return refused
    percent = next(iter(experiment.arms.values())).percent if experiment.mode == "canary" else 0
    if higher := [each for each in policy.canary if each > percent]:
        return _tried(now, digest, "canary", higher[0], shown)
    return Step("champion", digest, Release(champion=digest, images=now.images), shown)


def _tried(now: Release, digest: str, mode: Mode, percent: float, because: str) -> Step:
    """Return the step that lets a bundle run beside the champion."""
    shown = percent if mode == "canary" else None  # a shadow sees everybody
    arms = {CHALLENGER: Arm(bundle=digest, percent=percent)}
    experiment = Experiment(name=name_of(mode, digest, now.champion, shown), mode=mode, arms=arms)
    name = f"canary {percent:g} %" if shown else mode
    return Step(name, digest, now.model_copy(update={"experiment": experiment}), because)
