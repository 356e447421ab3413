"""Waivers: a file in which somebody takes responsibility for a check that need not pass, until a day."""

import tomllib
from datetime import date
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from ml.contract.verdict import Check, Waiver
from ml.errors import ContractError, first


class Waivers(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid")

    waiver: list[Waiver] = []


def read(file: Path, checks: list[str]) -> list[Waiver]:
    """Return the waivers in a file, tables [[waiver]] of check, owner, reason, expires; none where there is no file.

    Raises ContractError for a file that says anything else, or names a check that there is not.
    """
    try:
        waivers = Waivers.model_validate(tomllib.loads(file.read_text())).waiver
    except FileNotFoundError:
        return []
    except tomllib.TOMLDecodeError as error:
        raise ContractError("waivers", f"{file}: {error}", "Edit it") from error
    except ValidationError as error:
        raise ContractError("waivers", f"{file}: {first(error)}", "Edit it") from error
    if unknown := [each.check for each in waivers if each.check not in checks]:
        raise ContractError(
            "waivers", f"{file}: there is no check {unknown[0]!r} to waive", f"One of {', '.join(checks)}"
        )
    return waivers


def waived(checks: list[Check], waivers: list[Waiver], today: date) -> list[Check]:
    """Return the checks with the waivers that hold, and a check of the waivers: one that has expired fails."""
    holding = {each.check: each for each in waivers if each.expires >= today}
    broken = [f"{each.owner}'s for {each.check} expired on {each.expires}" for each in waivers if each.expires < today]
    result = [
        check if check.answer == "pass" else check.model_copy(update={"waiver": holding.get(check.name)})
        for check in checks
    ]
    said = ", ".join(f"{each.check} by {each.owner} until {each.expires}" for each in holding.values())
    own = Check(
        name="waivers",
        question="Is every waiver still in force?",
        answer="fail" if broken else "pass",
        said="; ".join(broken) or said or "there is none",
    )
    return [*result, own]
