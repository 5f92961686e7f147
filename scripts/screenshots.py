"""Makes the README's pictures anew, from a demo: python -m scripts.screenshots. Needs the test tools."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Browser, sync_playwright

from projections.audit_file import open_audit_file

PICTURES = Path(__file__).parent / "pictures"
PORT = 8199
SIZE = {"width": 1180, "height": 900}
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
ROUND = """
select provider, round, user from rounds where reversed > 0 order by (select count(*) from bets
    where bets.round = rounds.round and bets.provider = rounds.provider) desc, opened_position limit 1"""


def main() -> None:
    """Plays an evening, serves its audit file, and takes a picture of a round and of a wallet."""
    with TemporaryDirectory() as folder:
        _run("demo", "--rounds", "60", "--no-stay", "--folder", f"{folder}/demo")
        file = Path(folder, "demo", "operator", "book.audit.db")
        _run("audit-file", str(file), "--from", f"{folder}/demo/operator/book.db")
        with open_audit_file(file) as db:
            provider, round_id, user = db.execute(ROUND).fetchone()
            (currency,) = db.execute(
                "select currency from wallets where user = ?", (user,)
            ).fetchone()
        with _serving(file), _browser() as browser:
            round_page = f"round?partner={provider}&round={round_id}&at=4"
            _picture(browser, round_page, "round.png")
            _picture(browser, f"wallet?user={user}&currency={currency}", "wallet.png")


def _run(*arguments: str) -> None:
    subprocess.run([*_ROUNDBOOK, *arguments], check=True, stdout=subprocess.DEVNULL)  # noqa: S603


_ROUNDBOOK = (sys.executable, "-m", "scripts.cli")


@contextmanager
def _serving(file: Path) -> Iterator[None]:
    command = [*_ROUNDBOOK, "audit-serve", str(file), "--port", str(PORT)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:  # noqa: S603
        try:
            yield
        finally:
            server.terminate()


@contextmanager
def _browser() -> Iterator[Browser]:
    path = next(found for name in CHROMIUMS if (found := shutil.which(name)))
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])


def _picture(browser: Browser, page: str, name: str) -> None:
    PICTURES.mkdir(exist_ok=True)
    with browser.new_page(viewport=SIZE, color_scheme="light") as shown:  # type: ignore[arg-type]
        url = f"http://127.0.0.1:{PORT}/audit/operator/{page}"
        for _ in range(50):
            try:
                shown.goto(url)
                break
            except Exception:  # noqa: BLE001  (it is not up yet)
                shown.wait_for_timeout(100)
        shown.screenshot(path=PICTURES / name)


if __name__ == "__main__":
    main()
