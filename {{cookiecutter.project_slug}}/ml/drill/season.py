"""The drill of a season: a model lives through the days after its training, beside itself never trained again.

Pipeline, monitor, policy, gate and release are the real ones, in an environment of its own; only a service is not
needed, since records are scored as it would score them.
"""

from datetime import date, timedelta

from ml.cluster.ways import variables
from ml.contract import bundle
from ml.contract import release as contract
from ml.contract.bundle import Bundle
from ml.contract.framing import framing
from ml.contract.release import Release
from ml.delivery.release import whole
from ml.drill import yearbook
from ml.drill.living import Lived, live
from ml.drill.served import stretches
from ml.drill.world import world
from ml.errors import ContractError
from ml.problem import source
from ml.progress import say, table
from ml.settings import settings
from ml.store import files

ENVIRONMENT, PAGE = "season", "season.md"
STRETCH = 14  # days after which the monitor looks, and the policy is asked


def season(digest: str | None = None, since: date | None = None) -> list[Lived]:
    """Let a bundle, by default the newest, live to the end of the lake; show its year, and leave it as a page.

    It begins on the day after its training, or later. Raises ContractError for a day before, and where the lake ends
    before the first stretch does.
    """
    with variables(ML_RELEASE_ENVIRONMENT=ENVIRONMENT):
        conf = settings()
        first = whole(conf.store_url, digest)
        days = _days(first, since)
        newest = bundle.newest(conf.store_url)
        reports = files.local(conf.reports_url, "reports")
        with files.alone(reports, "drill"):
            contract.write(Release(champion=first.digest))
            try:
                year = [_told(each) for each in live(first.digest, days, world(), framing().retraining)]
            finally:
                bundle.name_newest(conf.store_url, newest)  # what a drill trains is no candidate of anybody
        table(yearbook.TITLE, yearbook.HEAD, [yearbook.cells(each, yearbook.value) for each in year])
        print(yearbook.closing(year, first.digest))
        (reports / PAGE).write_text(yearbook.page(year, first.digest))
        say("season", f"lived {len(year) * STRETCH} days; page in {reports / PAGE}")
        return year


def _days(first: Bundle, since: date | None) -> list[tuple[date, date]]:
    """Return the stretches that a bundle lives through; raises ContractError where there is none."""
    lake, named = settings().lake_url, first.digest[:12]
    trained_until = bundle.trained_until(first.manifest)
    begin = since or trained_until + timedelta(days=1)
    if begin <= trained_until:
        broken = f"{named} was trained on days up to {trained_until}, and cannot live from {begin} on"
        raise ContractError("drill", broken, "Name a later day, or a bundle that was trained earlier")
    found = list(stretches(source.days(lake), begin, STRETCH))
    if not found:
        broken = f"{lake} has no {STRETCH} days from {begin} on, as {named} was trained up to {trained_until}"
        raise ContractError("drill", broken, "Ingest more, or name a bundle that was trained earlier")
    return found


def _told(lived: Lived) -> Lived:
    """Say what came of a stretch, as soon as it is over."""
    say("season", yearbook.line(lived))
    return lived
