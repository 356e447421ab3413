"""What a person reads when something is wrong: the contract that broke, what broke it, and what to do."""


class ContractError(Exception):
    """A broken contract; printed as one line and never half-handled.

    `contract` names what was agreed on, `broken` says how it was broken, `mend` names the file to edit or
    the command to run.
    """

    def __init__(self, contract: str, broken: str, mend: str) -> None:
        super().__init__(f"{contract}: {broken}. {mend}")
        self.contract, self.broken, self.mend = contract, broken, mend
