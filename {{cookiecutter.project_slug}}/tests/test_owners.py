"""Who has to approve what goes to production is found as GitHub finds it, and the lines that ship name what exists."""

from pathlib import Path

import pytest
from conftest import ROOT, configured

from ml.attestation.keyless import ROOTS
from ml.doctor import owners
from ml.doctor.check import Doubt
from ml.settings import settings

FILE = "environments/production/release.yaml"
SHIPPED = ROOT / ".github" / "CODEOWNERS"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the check takes for the project's."""
    monkeypatch.setattr(owners, "ROOT", tmp_path)
    (tmp_path / ".github").mkdir()
    return tmp_path


OWNED = ["*", "*.yaml", "environments/", "/environments/", "/environments/**", "environments/production", "production/"]
OWNED += ["/environments/*/release.yaml", "/environments/production/*", f"/{FILE}", "**/production"]
OPEN = ["/*", "/environments/*", "*.py", "/production/", "environments/staging/", "#*", "/ml/ # *"]


@pytest.mark.parametrize("pattern", [*OWNED, *OPEN])
def test_a_line_names_the_owner_of_what_it_matches_and_of_nothing_else(project: Path, pattern: str) -> None:
    (project / "CODEOWNERS").write_text(f"{pattern} @ada/team @eve\n")
    assert owners.owner(FILE) == ("@ada/team @eve" if pattern in OWNED else "")


def test_the_last_line_and_the_first_file_count(project: Path) -> None:
    (project / "CODEOWNERS").write_text("* @ada\n\n/environments/ @eve # of late\n")
    assert owners.owner(FILE) == "@eve"
    (project / "CODEOWNERS").write_text("* @ada\n/environments/\n")
    assert owners.owner(FILE) == ""
    (project / ".github" / "CODEOWNERS").write_text("* @bob\n")
    assert owners.owner(FILE) == "@bob"


def test_production_without_an_owner_is_doubted_whatever_it_is_called(project: Path) -> None:
    with configured(ML_PROMOTION_STAGES='["test", "live"]', ML_RELEASE_FOLDER="environments"):
        with pytest.raises(Doubt, match=r"nobody owns live, .*Name an owner in .github/CODEOWNERS"):
            owners.owners()
        (project / "CODEOWNERS").write_text("/environments/live/ @ada\n")
        assert owners.owners() == "@ada owns live"


def test_the_lines_that_ship_name_nobody_and_once_they_do_what_exists(project: Path) -> None:
    (project / "CODEOWNERS").write_text(SHIPPED.read_text())
    guarded = [FILE, f"environments/{Path(settings().public_key).name}", ".github/CODEOWNERS", "project.toml"]
    assert [owners.owner(path) for path in guarded] == [""] * 4
    named = SHIPPED.read_text().replace("# /", "/")
    (project / "CODEOWNERS").write_text(named)
    assert [owners.owner(path) for path in guarded] == ["@owner"] * 4
    made = {"/environments/production/", "/environments/signing.pem", f"/environments/{ROOTS}"}  # by the project's user
    for path in {line.split()[0] for line in named.splitlines() if line.startswith("/")} - made:
        assert (ROOT / path.strip("/")).exists(), path
