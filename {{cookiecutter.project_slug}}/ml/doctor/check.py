"""What a check is: a function that answers one question with a sentence, or says what broke and how it is mended."""

from collections.abc import Callable, Iterable

from ml.errors import ContractError
from ml.progress import say

Check = Callable[[], str]


class Doubt(ContractError):
    """What may be right all the same, or cannot be seen from here: it is told, and fails nothing."""


def examine(checks: Iterable[Check]) -> int:
    """Ask every check, say a line of each, and return how many failed."""
    failed = 0
    for check in checks:
        try:
            say("right", check())
        except Doubt as doubt:
            say("doubt", str(doubt))
        except ContractError as error:
            failed += 1
            say("wrong", str(error))
    return failed
