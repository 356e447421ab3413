"""What a person reads when something is wrong: the contract that broke, what broke it, and what to do."""

from pydantic import ValidationError


class ContractError(Exception):
    """A broken contract; printed as one line and never half-handled.

    `contract` names what was agreed on, `broken` says how it was broken, `mend` names the file to edit or
    the command to run.
    """

    def __init__(self, contract: str, broken: str, mend: str) -> None:
        super().__init__(f"{contract}: {broken}. {mend}")
        self.contract, self.broken, self.mend = contract, broken, mend


def first(error: ValidationError) -> str:
    """Return the first thing that pydantic found wrong, as key and reason."""
    told = error.errors()[0]
    return f"{'.'.join(map(str, told['loc']))}: {told['msg'].removeprefix('Value error, ')}"
