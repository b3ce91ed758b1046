"""The model card: what a run folder says of itself to a person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from latentmap.estimators.history import evaluation
from latentmap.training.metrics import Row

_LIMITS = """\
- The model knows the rows it was fitted on, and nothing else: rows of another kind are encoded all the same.
- Reconstructions and samples are what the model keeps of the data, not the data; do not take them for measurements.
- Scores are lower bounds on the log-density, comparable between models of the same data in the same units.
- The same seed, versions, device and number of threads give the same weights; another machine may not."""

_HOLDS_ROWS = "- The model holds the rows it was fitted on: whoever has this folder has them."


def model_card(config: dict[str, Any], history: Sequence[Row]) -> str:
    """Write the card as Markdown, from what `persistence.describe` gives."""
    fitted, schema = config["fitted"], config["fitted"]["data_schema_"]
    name = config["class"]
    shape = " x ".join(map(str, schema["event_shape"]))
    given = {key: value for key, value in config["params"].items() if value is not None}
    sections = {
        "Data": [
            f"- {schema['n_rows']} rows of shape {shape}, {schema['dtype']}, kind {schema['kind']}",
            f"- values from {schema['lowest']:g} to {schema['highest']:g}",
            f"- sha256 of the values: `{fitted['data_fingerprint_']}`",
        ],
        "Model": [f"- {part}: {_text(value)}" for part, value in fitted["parts"].items()],
        "Choices": [f"- {choice}: {text}" for choice, text in fitted["choices_"].items()],
        "Parameters": [f"- {key} = {_text(value)}" for key, value in given.items()] + [f"- seed: {fitted['seed_']}"],
        "Metrics": [
            *_metrics(fitted, history),
            f"- fitted in {fitted['fit_seconds_']:.1f} s, {fitted['n_iter_']} epochs",
        ],
        "Diagnosis": [f"- {_sentence(finding)}" for finding in fitted["findings_"]],
        "Versions": [
            f"- {key} {value}" for key, value in {"latentmap": config["version"], **config["versions"]}.items()
        ],
        "Use": ["```python", "import latentmap", "", 'model = latentmap.load("this folder")', "```"],
        "Limits": [_LIMITS, *[_HOLDS_ROWS] * ("landmarks" in fitted["parts"]["encoder"])],
    }
    title = f"# {name} with {fitted['latent']} components"
    return "\n\n".join([title, *(f"## {head}\n\n" + "\n".join(lines) for head, lines in sections.items())]) + "\n"


def _metrics(fitted: dict[str, Any], history: Sequence[Row]) -> list[str]:
    """Return lines on the evaluation of the weights that were kept."""
    kept = evaluation(history, bound=fitted["history_bounds"], units=fitted["history_units"])
    if kept is None:
        return []
    units = "the data's own units" if kept.units == "data" else "the units of the model, not the data's"
    lines = [f"- of {kept.rows}, nats a row in {units}"]
    if kept.elbo is not None:
        lines.append(f"- ELBO: {kept.elbo:.3f}")
    return [*lines, f"- {kept}"]


def _text(value: Any) -> str:
    if not isinstance(value, dict):
        return str(value)
    fields = ", ".join(f"{key}={_text(field)}" for key, field in value.items() if key not in ("part", "module"))
    return f"{value.get('part', value.get('module'))}({fields})"


def _sentence(finding: dict[str, Any]) -> str:
    return f"{finding['message']}; {finding['advice']}" if finding["advice"] else str(finding["message"])
