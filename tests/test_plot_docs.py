"""The code of docs/plots.md runs and draws the pictures that the page shows."""

import re
import warnings
from pathlib import Path

import latentmap
from latentmap.exceptions import DiagnosisWarning

PAGE = Path(__file__).parents[1] / "docs" / "plots.md"


def test_the_page_draws_its_pictures(tmp_path, monkeypatch):
    text = PAGE.read_text(encoding="utf-8")
    pictures = re.findall(r"!\[[^\]]+\.\]\(images/plots/(.*?)\)", text)
    code = "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL)).replace("600", "100")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(latentmap, "VAE", Brief)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DiagnosisWarning)
        exec(compile(code, PAGE, "exec"), {})
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(pictures)
    assert len(pictures) == text.count("![")
    for picture in pictures:
        assert (PAGE.parent / "images" / "plots" / picture).stat().st_size < 60_000


def test_the_page_names_every_figure():
    text = PAGE.read_text(encoding="utf-8")
    functions = {name for name in latentmap.plot.__all__ if name.islower()}
    assert {name for name in functions if f"`{name}`" not in text and f"plot.{name}(" not in text} == set()


class Brief(latentmap.VAE):
    """A VAE that is fitted for two epochs."""

    def fit(self, *args, **kwargs):
        return self.set_params(max_epochs=2, compile=False).fit_fully(*args, **kwargs)

    fit_fully = latentmap.VAE.fit
