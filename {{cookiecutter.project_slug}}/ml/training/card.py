"""The model card (Mitchell et al. 2019) in Markdown: what the model is for, how good it is, where it comes from."""

from typing import Any

from ml.contract.framing import framing
from ml.problem.features import FEATURES
from ml.settings import settings


def card(manifest: dict[str, Any]) -> str:
    """Return the card of a bundle's manifest."""
    decision, cost, days = framing().decision, framing().cost, manifest["days"]
    names = list(next(iter(manifest["test"].values())))
    ladder = [f"| rung | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for rung, metrics in manifest["test"].items():
        cells = [f"{each['value']:.4f} ({each['low']:.4f} to {each['high']:.4f})" for each in metrics.values()]
        name = f"**{rung}**" if rung == manifest["rung"] else rung
        ladder.append(f"| {name} | {' | '.join(cells)} |")
    made, came = manifest["decisions"], manifest["provenance"]
    return "\n".join(
        [
            f"# {settings().project.name}: {manifest['rung']}",
            "",
            decision.question,
            "",
            f"**Users** {decision.users} **Action** {decision.action}",
            "",
            f"**Data** fitted on {' to '.join(days['fit'])}, chosen on {' to '.join(days['validation'])}, "
            f"tested on {' to '.join(days['test'])}.",
            "",
            "## On the test days, with 95 % intervals over days",
            "",
            *ladder,
            "",
            "## Decisions",
            "",
            f"Acting from a score of {made['threshold']:.3f} on, where a false alarm costs {cost.false_alarm:g} and "
            f"a miss {cost.miss:g}: {made['cost_per_thousand']:.0f} per thousand decisions, against "
            f"{made['cost_per_thousand_without_model']:.0f} without a model. It acts on {made['acted_share']:.1%}, "
            f"finds {made['recall']:.1%} of the positives, and is right in {made['precision']:.1%} of its alarms.",
            "",
            "## Inputs",
            "",
            *[f"- `{feature.name}`: {feature.sentence}" for feature in FEATURES],
            "",
            "## Provenance",
            "",
            f"- commit: {came['commit'] or 'none, the project is not a repository of its own'}",
            *[f"- {what} hash: `{came[what]}`" for what in ("tree", "data", "locks")],
            "",
        ]
    )
